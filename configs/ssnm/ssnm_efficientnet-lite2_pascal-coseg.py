# Few categories and masks must teach what is common to a group, not what a cat is: trained on some
# classes, tested on others. Choose them with --train-groups and --test-groups.
_base_ = [
    '../_base_/models/ssnm_efficientnet-lite2_class-agnostic.py',
    '../_base_/datasets/pascal_coseg.py',
    '../_base_/schedules/schedule_small.py',
    '../_base_/default_runtime.py',
]

image_size = (385, 385)  # sides of 32 k + 1, for which the backbone's padding is symmetric
train_pipeline = [
    dict(type='SampleGroup', num_images=6),
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='LoadCoSegMask'),
            dict(type='LoadPrior'),
            dict(type='Resize', scale=image_size, keep_ratio=False, interpolation='area'),
            dict(type='RandomFlip', prob=0.5),
        ],
    ),
    dict(type='PackGroupInputs'),
]
test_pipeline = [
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='Resize', scale=image_size, keep_ratio=False, interpolation='area'),
            dict(type='LoadCoSegMask'),
        ],
    ),
    dict(type='PackGroupInputs'),
]
train_groups = ['Aero', 'Bottle', 'Car', 'Cat', 'Chair', 'Monitor', 'Person']
test_groups = ['Bicycle', 'Horse', 'Plant']
train_dataloader = dict(batch_size=2, dataset=dict(groups=train_groups, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(groups=test_groups, pipeline=test_pipeline))
test_dataloader = val_dataloader

custom_hooks = [
    dict(type='IterationSeedHook'),
    dict(type='GroupPriorHook', image_size=image_size),
]
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=50))
