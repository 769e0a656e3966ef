# Deep descriptor transforming (Wei et al.), as published: the positive side of the first principal
# component of the last features. Soft maps: model.cues.ddt.threshold=otsu.
_base_ = [
    '../_base_/models/training_free_efficientnet-lite2.py',
    '../_base_/datasets/coseg_test.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(out_stages=['head']),
    cues=dict(ddt=dict(type='DDTModulator', level=-1, threshold='zero')),
)
