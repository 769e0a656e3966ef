# Without optimization: what the consensus and unlikeness to the images' borders call objects, split
# into the classes that recur. The data set says how many these are in each group;
# model.num_classes=K is for all.
_base_ = [
    '../_base_/models/training_free_efficientnet-lite2_consensus.py',
    '../_base_/datasets/multiclass_test.py',
    '../_base_/default_runtime.py',
]
model = dict(
    num_classes='data',
    refiners=dict(
        classes=dict(type='SplitClasses', levels=[0, 1]),
        class_training=dict(
            type='SelfTraining',
            levels=[0, 1],
            rounds=1,
            area=1.1,
            targets=dict(type='DenseCRF', max_side=192, bilateral=(78, 10, 5), gaussian=(5, 3)),
        ),
    ),
)
