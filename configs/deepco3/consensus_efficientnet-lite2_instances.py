# Without optimization: the connected parts of the consensus' mask. What DeepCO3 here begins with.
_base_ = '../consensus/consensus_efficientnet-lite2.py'
data_root = 'data/instances'
image_size = (513, 513)
model = dict(postprocessors=[dict(type='DenseCRF'), dict(type='InstancesFromMask')])
test_pipeline = [
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='Resize', scale=image_size, keep_ratio=False, interpolation='area'),
            dict(type='ComputeSaliency'),
            dict(type='LoadCoSegMask', with_instances=True),
        ],
    ),
    dict(type='PackGroupInputs'),
]
test_dataloader = dict(
    dataset=dict(type='InstanceCoSegDataset', data_root=data_root, pipeline=test_pipeline)
)
test_evaluator = [
    dict(type='InstanceCoSegMetric', iou_thresholds=[0.25, 0.5]),
    dict(type='CorLocMetric', iou_threshold=0.5),
]
