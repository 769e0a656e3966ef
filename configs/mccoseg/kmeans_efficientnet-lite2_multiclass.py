# Baseline: k-means of all locations into one cluster more than there are classes; that which holds
# most of the images' borders for its size is background.
_base_ = [
    '../_base_/models/training_free.py',
    '../_base_/datasets/multiclass.py',
    '../_base_/schedules/no_training.py',
    '../_base_/default_runtime.py',
]
model = dict(
    num_classes='data',
    stages=dict(
        saliency=dict(type='SaliencyCue'),
        classes=dict(type='SplitClasses', levels=[0, 1], method='all', rounds=0, union=False),
    ),
)
