# SSNM on HRNet-W32, four branches, all levels at 512 channels as in the published code.
channels = 512
backbone_channels = [32, 64, 128, 256]
model = dict(
    type='SSNM',
    data_preprocessor=dict(
        type='GroupDataPreprocessor',
        size=(224, 224),
        interpolation='bilinear',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size_divisor=32,
        channels_last=True,
    ),
    backbone=dict(
        type='TimmModel',
        model_name='hrnet_w32',
        model_kwargs=dict(feature_location=''),
        weights='imagenet',
    ),
    neck=dict(type='LevelProjection', in_channels=backbone_channels, channels=channels),
    modulators=dict(
        spatial=dict(type='SpatialModulator', in_channels=backbone_channels, channels=256),
        semantic=dict(
            type='SemanticModulator',
            in_channels=256,
            channels=channels,
            reduced_channels=64,
            num_classes=78,
        ),
    ),
    decode_head=dict(
        type='CoarseToFineHead',
        in_channels=[channels] * 4,
        loss_decode=[
            dict(type='BalancedBCELoss', balance='literal'),
            dict(type='MaskSmoothL1Loss'),
        ],
    ),
    test_cfg=dict(grouping='ssnm', group_size=5, threshold='adaptive'),
)
