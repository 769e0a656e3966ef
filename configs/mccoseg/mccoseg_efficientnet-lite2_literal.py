# The published parts on EfficientNets, for comparison with the offline config: the co-attention
# loss alone, random maps to begin with, the whole network optimized.
_base_ = [
    '../_base_/models/mccoseg_vgg16.py',
    '../_base_/datasets/multiclass.py',
    '../_base_/schedules/schedule_group_10e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(mean=[127.0, 127.0, 127.0], std=[128.0, 128.0, 128.0]),
    backbone=dict(
        _delete_=True,
        type='EfficientNetLite',
        arch='lite2',
        out_stages=['stage3', 'stage6'],
        output_stride=16,
        weights='imagenet',
    ),
    neck=dict(attention=dict(in_channels=208)),
    decode_head=dict(in_channels=[48, 208]),
    extractor=dict(
        _delete_=True,
        type='EfficientNetLite',
        arch='lite0',
        out_stages=['head'],
        output_stride=32,
        weights='imagenet',
        frozen_stages=9,
    ),
)
