# Any set of groups with several classes (--data-root), for methods that need no training.
data_root = 'data/voc_multiclass'
image_size = (513, 513)  # sides of 32 k + 1, for which padding is symmetric
test_pipeline = [
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='Resize', scale=image_size, keep_ratio=False, interpolation='area'),
            dict(type='ComputeSaliency'),
            dict(type='LoadCoSegMask', binary=False, values='label'),
        ],
    ),
    dict(type='PackGroupInputs'),
]
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
test_cfg = dict(type='TestLoop')
