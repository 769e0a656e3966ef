# Baseline: k-means of all locations into one cluster more than there are classes; that which holds
# most of the images' borders for its size is background.
_base_ = [
    '../_base_/models/training_free_efficientnet-lite2.py',
    '../_base_/datasets/multiclass_test.py',
    '../_base_/default_runtime.py',
]
model = dict(
    num_classes='data',
    backbone=dict(out_stages=['stage5', 'stage6']),
    cues=dict(saliency=dict(type='SaliencyModulator')),
    refiners=dict(
        classes=dict(type='SplitClasses', levels=[0, 1], method='all', rounds=0, union=False)
    ),
)
