# Any set of groups with one mask for each object (instances.json, --data-root).
data_root = 'data/instances'
cache_dir = 'work_dirs/priors'
test_pipeline = [
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='ComputeProposals', cache_dir=cache_dir, max_side=1024),
            dict(type='ResizeToInput'),
            dict(type='ComputeSaliency', cache_dir=cache_dir),
            dict(type='LoadCoSegMask', with_instances=True),
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
        type='InstanceCoSegDataset', data_root=data_root, test_mode=True, pipeline=test_pipeline
    ),
)
test_evaluator = [
    dict(type='InstanceCoSegMetric', iou_thresholds=[0.25, 0.5]),
    dict(type='CorLocMetric', iou_threshold=0.5),
]
