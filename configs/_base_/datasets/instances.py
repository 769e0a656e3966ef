# Any set of groups with one mask for each object (instances.json, --data-root), for methods that
# are optimized on the very groups that they are tested on. DeepCO3's size and mini-batches.
data_root = 'data/instances'
cache_dir = 'work_dirs/priors'
image_size = (448, 448)
train_pipeline = [
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='ComputeSaliency', size=(112, 112), cache_dir=cache_dir),
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
            dict(type='ComputeProposals', cache_dir=cache_dir),
            dict(type='ComputeSaliency', size=(112, 112), cache_dir=cache_dir),
            dict(type='Resize', scale=image_size, keep_ratio=False),
            dict(type='LoadCoSegMask', with_instances=True),
        ],
    ),
    dict(type='PackGroupInputs'),
]
train_dataloader = dict(
    batch_size=6,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='group_collate'),
    dataset=dict(type='InstanceCoSegDataset', data_root=data_root, pipeline=train_pipeline),
)
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
