# Multi-class co-segmentation where nothing can be downloaded: EfficientNet-Lite2 whose features are
# kept, so that attention and head are optimized. They begin with classes that clusterings of the
# group agree on, since the co-attention loss alone has optima that say nothing.
preprocessor = dict(
    type='GroupDataPreprocessor',
    mean=[127.0, 127.0, 127.0],
    std=[128.0, 128.0, 128.0],
    bgr_to_rgb=True,
    channels_last=True,
    defer=True,
)
backbone = dict(
    type='EfficientNetLite',
    arch='lite2',
    out_stages=['stage5', 'stage6'],
    output_stride=16,
    weights='imagenet',
    frozen_stages=9,
)
model = dict(
    type='MultiClassCoSeg',
    num_classes='data',
    max_classes=6,
    data_preprocessor=preprocessor,
    backbone=backbone,
    attention=dict(
        type='GatedAttention',
        in_channels=208,
        self_attention=dict(type='SelfAttention'),
        mutual_attention=dict(type='MutualAttention'),
    ),
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
    vector_length=2.2,
    prior_start=True,
    losses=dict(
        co_attention=dict(type='CoAttentionLoss', reduction='mean', loss_weight=0.3),
        prior=dict(type='PriorMapLoss'),
    ),
    prior=dict(
        type='TrainingFreeCoSegmentor',
        data_preprocessor=preprocessor,
        backbone=backbone,
        cues=dict(
            saliency=dict(type='SaliencyModulator'),
            consensus=dict(type='ConsensusModulator', level=1, prior_exponent=1.0),
        ),
        cue_weights=dict(saliency=0.2, consensus=0.8),
        refiners=dict(
            self_training=dict(
                type='SelfTraining',
                levels=[0, 1],
                area=1.1,
                targets=dict(
                    type='DenseCRF',
                    max_side=192,
                    bilateral=(78, 10, 5),
                    gaussian=(5, 3),
                    logit_shift=0.2,
                ),
            ),
            classes=dict(type='SplitClasses', levels=[0, 1]),
            class_training=dict(
                type='SelfTraining',
                levels=[0, 1],
                rounds=1,
                area=1.1,
                targets=dict(type='DenseCRF', max_side=192, bilateral=(78, 10, 5), gaussian=(5, 3)),
            ),
        ),
        test_cfg=dict(chunk_size=2, memory_limit=256, flip=True),
    ),
    feature_cache=1000,
    postprocessors=[dict(type='DenseCRF'), dict(type='CleanMask')],
    test_cfg=dict(chunk_size=2, group_size=3, min_max=False, prior_weight=0.5),
)
