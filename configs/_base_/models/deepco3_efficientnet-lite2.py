# DeepCO3 where nothing can be downloaded: EfficientNet-Lite2 whose features are kept, so that only
# the head is optimized. What the group has in common without training takes the place of saliency;
# instances are proposals or parts of the drawn mask, whichever fits.
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
crf = dict(type='DenseCRF')
model = dict(
    type='DeepCO3',
    data_preprocessor=preprocessor,
    backbone=backbone,
    decode_head=dict(
        type='CoSaliencyHead',
        in_channels=[120, 208],
        strides=[16, 16],
        coarse_levels=[0, 1],
        normalize=True,
        align_corners=True,
    ),
    losses=dict(
        co_peak=dict(type='CoPeakLoss', loss_weight=0.5),
        affinity=dict(type='AffinityLoss', alpha=4.0, loss_weight=0.1),
        saliency=dict(type='CoSaliencyLoss', loss_weight=1.0),
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
            )
        ),
        presence=dict(type='PrototypePresence', level=1),
        postprocessors=[crf],
        test_cfg=dict(chunk_size=2, memory_limit=256, flip=True),
    ),
    feature_cache=1000,
    ranking=dict(type='InstanceRanking', select='soft_iou'),
    nms=dict(type='MaskNMS', iou=0.4),
    regions=dict(type='SalientRegions', min_share=0.1),
    postprocessors=[crf],
    test_cfg=dict(chunk_size=2, max_peaks=8, min_peak=0.3, heat_stage='stage5'),
)
