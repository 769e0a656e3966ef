# Two-way spectral clustering of the group's locations on a sparse graph. SSNM's own on raw
# features: --cfg-options model.stages.spectral.affinity=gram model.stages.spectral.normalize=True
# model.stages.spectral.threshold=zero
_base_ = [
    '../_base_/models/training_free.py',
    '../_base_/datasets/coseg_test.py',
    '../_base_/schedules/no_training.py',
    '../_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(size=(385, 385)),
    backbone=dict(out_stages=['stage6']),
    stages=dict(
        spectral=dict(
            type='SpectralCue', level=-1, affinity='landmarks', normalize=False, threshold='otsu'
        )
    ),
)
