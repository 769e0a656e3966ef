# The consensus, split into the classes that recur in it.
_base_ = './consensus.py'
model = dict(
    num_classes='data',
    stages=dict(
        follow_hints=None,
        presence=None,
        classes=dict(type='SplitClasses', levels=[0, 1]),
        class_training=dict(
            type='SelfTraining',
            levels=[0, 1],
            rounds=1,
            area=1.1,
            targets=dict(type='DenseCRF', max_side=192, bilateral=(78, 10, 5), gaussian=(5, 3)),
        ),
        follow_class_hints=dict(type='FollowHints', levels=[0, 1]),
    ),
)
