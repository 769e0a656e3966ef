# Baseline of DeepCO3's tables: DFF, by boxes as DDT.
_base_ = [
    '../_base_/models/training_free.py',
    '../_base_/datasets/instances.py',
    '../_base_/schedules/no_training.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(out_stages=['stage6']),
    stages=dict(dff=dict(type='DFFCue', level=-1, num_factors=3)),
    postprocessors=[dict(type='InstancesFromMask', shape='box', min_share=0.0)],
)
