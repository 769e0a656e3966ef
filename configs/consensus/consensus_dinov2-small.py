# The default's cues on patch tokens of a self-supervised transformer, which timm downloads (88 MB).
_base_ = './consensus_efficientnet-lite2.py'
model = dict(
    data_preprocessor=dict(
        size=(392, 392),  # 28 x 28 patches
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
    ),
    backbone=dict(
        _delete_=True,
        type='TimmModel',
        model_name='vit_small_patch14_reg4_dinov2',
        out_indices=(-1,),
        weights='imagenet',
        frozen=True,
        model_kwargs=dict(dynamic_img_size=True),
    ),
    stages=dict(
        consensus=dict(level=0),
        self_training=dict(levels=[0]),
        steady=dict(levels=[0]),
        follow_hints=dict(levels=[0]),
        presence=dict(level=0),
    ),
)
