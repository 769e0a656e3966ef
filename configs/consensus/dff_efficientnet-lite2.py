# Deep feature factorization (Collins et al.): of three non-negative factors of the group's
# features, the one off the image borders.
_base_ = [
    '../_base_/models/training_free.py',
    '../_base_/datasets/coseg_test.py',
    '../_base_/schedules/no_training.py',
    '../_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(size=(385, 385)),
    backbone=dict(out_stages=['stage6']),
    stages=dict(dff=dict(type='DFFCue', level=-1, num_factors=3)),
)
