# Multi-class co-segmentation where nothing can be downloaded: the features are kept, so that
# attention and head are optimized. The classes that clusterings of the group agree on are a second
# objective, since the co-attention loss alone has optima that say nothing.
_base_ = './consensus_classes.py'
consensus = _base_.model
consensus.postprocessors = []
consensus.pop('num_classes')  # the model's own
del _base_.model
model = dict(
    type='MultiClassCoSeg',
    num_classes='data',
    max_classes=6,
    data_preprocessor=consensus.data_preprocessor,
    backbone=consensus.backbone,
    initial_segmentor=consensus,
    neck=dict(type='AttentionNeck', attention=dict(type='GatedAttention', in_channels=208)),
    decode_head=dict(
        type='MultiClassHead',
        in_channels=[120, 208],
        strides=[16, 16],
        coarse_levels=[0, 1],
        normalize=True,
        align_corners=True,
    ),
    extractor=dict(
        type='EfficientNetLite',
        arch='lite0',
        out_stages=['head'],
        output_stride=32,
        weights='imagenet',
        frozen_stages=9,
    ),
    extractor_size=161,
    losses=dict(
        co_attention=dict(type='CoAttentionLoss', reduction='mean', loss_weight=0.3),
        initial=dict(type='InitialMapLoss'),
    ),
    feature_cache=1000,
    postprocessors=[dict(type='DenseCRF'), dict(type='CleanMask')],
    test_cfg=dict(chunk_size=2, group_size=3, min_max=False),
)
del consensus
