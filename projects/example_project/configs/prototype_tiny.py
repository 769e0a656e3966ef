# SSNM's frame with a modulator, a head that attends to the whole group, and a loss of ours, on a
# type of data set of ours. It stands alone; the data are chosen with --data-root.
default_scope = 'mmcoseg'
custom_imports = dict(imports=['example_project'])

channels = [24, 40, 112, 320]
model = dict(
    type='SSNM',
    data_preprocessor=dict(
        type='GroupDataPreprocessor', size=(129, 129), mean=[127.0] * 3, std=[128.0] * 3
    ),
    backbone=dict(type='EfficientNetLite', arch='lite0', frozen_stages=7),
    neck=dict(type='LevelProjection', in_channels=channels, channels=32),
    modulators=dict(prototype=dict(type='PrototypeModulator', in_channels=channels[-1])),
    decode_head=dict(
        type='GroupAttentionHead', in_channels=[32] * 4, loss_decode=dict(type='SoftDiceLoss')
    ),
)

load_image, load_mask = dict(type='LoadCoSegImage'), dict(type='LoadCoSegMask')
resize = dict(type='ResizeToInput')
flip = dict(type='RandomFlip', prob=0.5)
data_root = 'data/my_groups'
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='EpisodeSampler', seed=0),
    collate_fn=dict(type='group_collate'),
    dataset=dict(
        type='CSVCoSegDataset',
        data_root=data_root,
        pipeline=[
            dict(type='SampleGroup', num_images=4),
            dict(type='ForEachImage', transforms=[load_image, load_mask, resize, flip]),
            dict(type='PackGroupInputs'),
        ],
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='group_collate'),
    dataset=dict(
        type='CSVCoSegDataset',
        data_root=data_root,
        test_mode=True,
        pipeline=[
            dict(type='ForEachImage', transforms=[load_image, resize, load_mask]),
            dict(type='PackGroupInputs'),
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='CoSegMetric')
test_evaluator = val_evaluator

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=200, val_interval=200)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=10, log_metric_by_epoch=False),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=200),
)
custom_hooks = [dict(type='IterationSeedHook')]
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
