# The PASCAL-VOC co-segmentation set, or any other set in the canonical layout (--data-root).
data_root = 'data/pascal_coseg'
train_pipeline = [
    dict(type='SampleGroup', num_images=5),
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='LoadCoSegMask'),
            dict(type='LoadGroupMap'),
            dict(type='ResizeToInput'),
            dict(type='RandomFlip', prob=0.5),
        ],
    ),
    dict(type='PackGroupInputs'),
]
test_pipeline = [
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='ResizeToInput'),
            dict(type='LoadCoSegMask'),
        ],
    ),
    dict(type='PackGroupInputs'),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    sampler=dict(type='EpisodeSampler'),
    collate_fn=dict(type='group_collate'),
    dataset=dict(type='CoSegDataset', data_root=data_root, pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='group_collate'),
    dataset=dict(type='CoSegDataset', data_root=data_root, test_mode=True, pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='CoSegMetric', protocol='native')
test_evaluator = val_evaluator
test_cfg = dict(type='TestLoop')
