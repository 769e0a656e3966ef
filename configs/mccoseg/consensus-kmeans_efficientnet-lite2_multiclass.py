# Baseline: k-means into the number of classes inside the foreground of the consensus.
_base_ = [
    '../_base_/models/training_free_efficientnet-lite2_consensus.py',
    '../_base_/datasets/multiclass_test.py',
    '../_base_/default_runtime.py',
]
model = dict(
    num_classes='data',
    refiners=dict(
        classes=dict(type='SplitClasses', levels=[0, 1], method='foreground', rounds=0, union=False)
    ),
)
