# Deep feature factorization (Collins et al.): of three non-negative factors of the group's
# features, the one off the image borders.
_base_ = [
    '../_base_/models/training_free_efficientnet-lite2.py',
    '../_base_/datasets/coseg_test.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(out_stages=['stage6']),
    cues=dict(dff=dict(type='DFFModulator', level=-1, num_factors=3)),
)
