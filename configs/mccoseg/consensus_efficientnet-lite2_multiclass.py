# Without optimisation: what the consensus and unlikeness to the images' borders call objects, split
# into the classes that recur. model.num_classes is their number.
_base_ = '../consensus/consensus_efficientnet-lite2.py'
data_root = 'data/voc_multiclass'
image_size = (513, 513)
model = dict(
    num_classes=2,
    refiners=dict(classes=dict(type='SplitClasses', levels=[0, 1])),
)
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
    dataset=dict(type='MultiClassCoSegDataset', data_root=data_root, pipeline=test_pipeline)
)
test_evaluator = dict(_delete_=True, type='MultiClassCoSegMetric')
