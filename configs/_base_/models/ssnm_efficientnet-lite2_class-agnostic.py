# SSNM for classes that training does not show: modulators computed from the group, and a head that
# sees their maps. The backbone is frozen, its deep stages dilated to stride 16.
model = dict(
    type='ClassAgnosticSSNM',
    data_preprocessor=dict(
        type='GroupDataPreprocessor',
        mean=[127.0, 127.0, 127.0],
        std=[128.0, 128.0, 128.0],
        bgr_to_rgb=True,
        channels_last=True,
    ),
    backbone=dict(
        type='EfficientNetLite',
        arch='lite2',
        out_stages=['stage2', 'stage3', 'stage5', 'stage7', 'stage6'],
        output_stride=16,
        weights='imagenet',
        frozen_stages=9,
    ),
    # The last level of the backbone (stage 6) is what the spatial modulator clusters.
    neck=dict(
        type='FeatureWhitening',
        in_channels=[24, 48, 120, 352, 208],
        fine=[0, 1],
        deep=[2, 3, 4],
        channels=128,
    ),
    modulators=dict(
        spatial=dict(type='ConsensusModulator', level=-1),
        semantic=dict(type='DiscriminantModulator', level=-1),
    ),
    # No semantic channels in the head (bottleneck=0): with 16 of them results on unseen classes
    # swing by 15 J from one random start to another, see docs/accuracy.md.
    decode_head=dict(
        type='CueHead', deep_channels=128, fine_channels=[24, 48], channels=32, bottleneck=0
    ),
    rounds=2,
    feature_cache=1000,  # each image and its mirror image; 1.5 GB
    test_cfg=dict(grouping='whole', flip=True, chunk_size=16),
)
