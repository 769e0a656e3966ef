# Baseline of DeepCO3's tables: the boxes of the parts that DDT finds, and for each of them the
# proposal that fits it best.
_base_ = [
    '../_base_/models/training_free.py',
    '../_base_/datasets/instances.py',
    '../_base_/schedules/no_training.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(out_stages=['head']),
    stages=dict(ddt=dict(type='DDTCue', level=-1, threshold='zero')),
    postprocessors=[dict(type='InstancesFromMask', shape='box', min_share=0.0)],
)
