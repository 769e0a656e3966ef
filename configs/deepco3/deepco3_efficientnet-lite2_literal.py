# The published parts of DeepCO3 on EfficientNet-Lite2, for comparison with the offline config: each
# image's own saliency, the published losses, the whole network optimized, proposals by Eq. 7.
_base_ = [
    '../_base_/models/deepco3_vgg16.py',
    '../_base_/datasets/instances.py',
    '../_base_/schedules/schedule_group_40e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(mean=[127.0, 127.0, 127.0], std=[128.0, 128.0, 128.0]),
    backbone=dict(
        _delete_=True,
        type='EfficientNetLite',
        arch='lite2',
        out_stages=['stage6'],
        output_stride=16,
        weights='imagenet',
    ),
    decode_head=dict(in_channels=[208]),
    test_cfg=dict(chunk_size=2, max_peaks=8, heat_stage='stage4'),
)
