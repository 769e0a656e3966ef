# Multi-class co-segmentation as published: VGG16 up to conv5_3 with attention, K + 1 maps, and a
# frozen ResNet-50 that looks at the images through them.
model = dict(
    type='MultiClassCoSeg',
    num_classes='data',
    max_classes=3,
    data_preprocessor=dict(
        type='GroupDataPreprocessor',
        size=(384, 384),
        interpolation='bilinear',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        type='VGG16',
        batch_norm=False,
        out_stages=['pool3', 'pool5'],
        last_pool=False,
        weights='imagenet',
    ),
    neck=dict(type='AttentionNeck', attention=dict(type='GatedAttention', in_channels=512)),
    decode_head=dict(type='MultiClassHead', in_channels=[256, 512], strides=[8, 16], lateral=True),
    extractor=dict(
        type='TimmModel',
        model_name='resnet50.tv_in1k',
        out_indices=[-1],
        weights='imagenet',
        frozen=True,
    ),
    losses=dict(co_attention=dict(type='CoAttentionLoss')),
    postprocessors=[dict(type='DenseCRF')],
    test_cfg=dict(group_size=3),
)
