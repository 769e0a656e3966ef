# Baseline of DeepCO3's tables: the boxes of the parts that DDT finds, and for each of them the
# proposal that fits it best.
_base_ = [
    '../_base_/models/training_free_efficientnet-lite2.py',
    '../_base_/datasets/instances_test.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(out_stages=['head']),
    cues=dict(ddt=dict(type='DDTModulator', level=-1, threshold='zero')),
    postprocessors=[dict(type='InstancesFromMask', shape='box', min_share=0.0)],
)
