# Deep descriptor transforming (Wei et al.), as published: the positive side of the first principal
# component of the last features. Soft maps: model.stages.ddt.threshold=otsu.
_base_ = [
    '../_base_/models/training_free.py',
    '../_base_/datasets/coseg_test.py',
    '../_base_/schedules/no_training.py',
    '../_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(size=(385, 385)),
    backbone=dict(out_stages=['head']),
    stages=dict(ddt=dict(type='DDTCue', level=-1, threshold='zero')),
)
