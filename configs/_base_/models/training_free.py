# Co-segmentation without training. A method's config adds its stages.
_base_ = './efficientnet-lite2.py'
model = dict(
    type='TrainingFreeCoSegmentor',
    postprocessors=[dict(type='DenseCRF'), dict(type='CleanMask')],
    test_cfg=dict(chunk_size=2, memory_limit=256, flip=True),
)
