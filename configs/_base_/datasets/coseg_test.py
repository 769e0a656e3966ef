# Any set in the canonical layout (--data-root), for methods that are not trained on it.
data_root = 'data/pascal_coseg'
test_pipeline = [
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='ResizeToInput'),
            dict(type='ComputeSaliency'),
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
