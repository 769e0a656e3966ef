# Any set of groups with one mask for each object (instances.json, --data-root), for methods that
# are optimised on the very groups that they are tested on.
data_root = 'data/instances'
image_size = (448, 448)
train_pipeline = [
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='Resize', scale=image_size, keep_ratio=False),
            dict(type='ComputeSaliency', size=image_size),
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
            dict(type='LoadCoSegMask', with_instances=True),
        ],
    ),
    dict(type='PackGroupInputs'),
]
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
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
test_cfg = dict(type='TestLoop')
