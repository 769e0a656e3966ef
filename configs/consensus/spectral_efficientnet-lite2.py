# Two-way spectral clustering of the group's locations on a sparse graph. SSNM's own on raw
# features: --cfg-options model.cues.spectral.affinity=gram model.cues.spectral.normalize=True
# model.cues.spectral.threshold=zero
_base_ = [
    '../_base_/models/training_free_efficientnet-lite2.py',
    '../_base_/datasets/coseg_test.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(out_stages=['stage6']),
    cues=dict(
        spectral=dict(
            type='SpectralModulator',
            level=-1,
            affinity='landmarks',
            normalize=False,
            threshold='otsu',
        )
    ),
)
