# Co-segmentation without training, on ImageNet features that install from PyPI. A method's config
# adds its cues, which look at levels[-1], stride 16: the deep stages are dilated.
model = dict(
    type='TrainingFreeCoSegmentor',
    data_preprocessor=dict(
        type='GroupDataPreprocessor',
        mean=[127.0, 127.0, 127.0],
        std=[128.0, 128.0, 128.0],
        bgr_to_rgb=True,
        channels_last=True,
        defer=True,
    ),
    backbone=dict(
        type='EfficientNetLite',
        arch='lite2',
        out_stages=['stage6'],
        output_stride=16,
        weights='imagenet',
        frozen_stages=9,
    ),
    postprocessors=[dict(type='DenseCRF'), dict(type='CleanMask')],
    test_cfg=dict(chunk_size=2, memory_limit=256, flip=True),
)
