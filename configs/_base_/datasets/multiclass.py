# Any set of groups with several classes (images/<a+b>, masks/<a+b>, --data-root), for methods that
# are optimized on the very groups that they are tested on. The published size and mini-batches.
data_root = 'data/voc_multiclass'
image_size = (384, 384)
train_pipeline = [
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='Resize', scale=image_size, keep_ratio=False),
        ],
    ),
    dict(type='PackGroupInputs'),
]
test_pipeline = [
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='Resize', scale=image_size, keep_ratio=False),
            dict(type='LoadCoSegMask', binary=False, values='label'),
        ],
    ),
    dict(type='PackGroupInputs'),
]
train_dataloader = dict(
    batch_size=3,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='group_collate'),
    dataset=dict(type='MultiClassCoSegDataset', data_root=data_root, pipeline=train_pipeline),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='group_collate'),
    dataset=dict(
        type='MultiClassCoSegDataset', data_root=data_root, test_mode=True, pipeline=test_pipeline
    ),
)
test_evaluator = dict(type='MultiClassCoSegMetric')
