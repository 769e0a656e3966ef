# Baseline of DeepCO3's tables: the box of DDT's largest part, and the proposal that fits it best.
_base_ = [
    '../_base_/models/training_free_efficientnet-lite2.py',
    '../_base_/datasets/instances_test.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(taps=['head']),
    cues=dict(ddt=dict(type='DDTModulator', level=-1, threshold='zero')),
    postprocessors=[dict(type='InstancesFromMask', parts='largest', shape='box')],
)
