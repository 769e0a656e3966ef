# DeepCO3 where nothing can be downloaded: the features are kept, so that only the head is
# optimized. What the group has in common without training takes the place of saliency; instances
# are proposals or parts of the drawn mask, whichever fits.
_base_ = './consensus.py'
consensus = _base_.model
del _base_.model
model = dict(
    type='DeepCO3',
    data_preprocessor=consensus.data_preprocessor,
    backbone=consensus.backbone,
    initial_segmentor=consensus,
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
    feature_cache=1000,
    ranking=dict(type='InstanceRanking', select='soft_iou'),
    nms=dict(type='MaskNMS', iou=0.4),
    regions=dict(type='SalientRegions', min_share=0.1),
    postprocessors=[dict(type='DenseCRF')],
    test_cfg=dict(chunk_size=2, max_peaks=8, min_peak=0.3, heat_stage='stage5'),
)
del consensus
