# Baseline of DeepCO3's tables: DDT+, what DDT finds in two layers at once.
_base_ = [
    '../_base_/models/training_free.py',
    '../_base_/datasets/instances.py',
    '../_base_/schedules/no_training.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(out_stages=['stage7', 'head']),
    stages=dict(
        ddt=dict(type='DDTCue', level=-1, threshold='zero'),
        earlier=dict(type='DDTCue', level=0, threshold='zero'),
        mean=dict(type='WeightedMean', weights=dict(ddt=1, earlier=1)),
    ),
    postprocessors=[dict(type='InstancesFromMask', shape='box', min_share=0.0)],
    test_cfg=dict(threshold=0.75),  # of the mean of two maps that are 0 or 1: where both are
)
