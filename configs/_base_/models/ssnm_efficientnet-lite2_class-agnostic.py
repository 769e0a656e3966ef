# SSNM for classes that training does not show: modulators computed from the group, and a head that
# sees their maps.
_base_ = './efficientnet-lite2.py'
model = dict(
    type='ClassAgnosticSSNM',
    data_preprocessor=dict(size=(385, 385)),
    backbone=dict(out_stages=['stage2', 'stage3', 'stage5', 'stage7', 'stage6']),
    # The last level of the backbone (stage 6) is what the spatial modulator clusters.
    neck=dict(
        type='FeatureWhitening',
        in_channels=[24, 48, 120, 352, 208],
        fine=[0, 1],
        deep=[2, 3, 4],
        channels=128,
    ),
    modulators=dict(
        spatial=dict(type='CueModulator', cue=dict(type='ConsensusCue', level=-1)),
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
