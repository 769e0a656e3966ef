# Any set in the canonical layout (--data-root), for methods that are not trained on it.
data_root = 'data/pascal_coseg'
image_size = (385, 385)  # sides of 32 k + 1, for which padding is symmetric
test_pipeline = [
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='Resize', scale=image_size, keep_ratio=False, interpolation='area'),
            dict(type='LoadCoSegMask'),
        ],
    ),
    dict(type='PackGroupInputs'),
]
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='group_collate'),
    dataset=dict(type='CoSegDataset', data_root=data_root, test_mode=True, pipeline=test_pipeline),
)
test_evaluator = dict(type='CoSegMetric', protocol='native')
test_cfg = dict(type='TestLoop')
