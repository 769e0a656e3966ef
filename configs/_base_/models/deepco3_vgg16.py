# DeepCO3 as published: VGG16 up to conv5_3, the three losses, proposals ranked by Eq. 7.
model = dict(
    type='DeepCO3',
    data_preprocessor=dict(
        type='GroupDataPreprocessor',
        size=(448, 448),
        interpolation='bilinear',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        type='VGG16',
        batch_norm=False,
        out_stages=['pool5'],
        last_pool=False,
        weights='imagenet',
    ),
    decode_head=dict(type='CoSaliencyHead', in_channels=[512], strides=[16]),
    losses=dict(
        co_peak=dict(type='CoPeakLoss', loss_weight=0.5),
        affinity=dict(type='AffinityLoss', alpha=4.0, loss_weight=0.1),
        saliency=dict(type='CoSaliencyLoss', loss_weight=1.0),
    ),
    ranking=dict(type='InstanceRanking', beta=0.8, gamma=1e-5),
    nms=dict(type='MaskNMS', iou=0.4),
)
