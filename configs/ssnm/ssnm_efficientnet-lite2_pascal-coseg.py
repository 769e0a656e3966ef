# Few categories and masks must teach what is common to a group, not what a cat is: trained on some
# classes, tested on others. Choose them with --train-groups and --test-groups.
_base_ = [
    '../_base_/models/ssnm_efficientnet-lite2_class-agnostic.py',
    '../_base_/datasets/pascal_coseg.py',
    '../_base_/schedules/schedule_small.py',
    '../_base_/default_runtime.py',
]

_base_.train_dataloader.dataset.pipeline[0].num_images = 6
train_groups = ['Aero', 'Bottle', 'Car', 'Cat', 'Chair', 'Monitor', 'Person']
test_groups = ['Bicycle', 'Horse', 'Plant']
train_dataloader = dict(batch_size=2, dataset=dict(groups=train_groups))
val_dataloader = dict(dataset=dict(groups=test_groups))
test_dataloader = val_dataloader

custom_hooks = [
    dict(type='IterationSeedHook'),
    dict(type='GroupMapHook'),
]
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=50))
