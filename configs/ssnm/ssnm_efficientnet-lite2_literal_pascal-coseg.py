# The published parts of SSNM in the setting of ssnm_efficientnet-lite2_pascal-coseg.py, on the same
# frozen backbone.
_base_ = [
    '../_base_/models/ssnm_efficientnet-lite2.py',
    '../_base_/datasets/pascal_coseg.py',
    '../_base_/schedules/schedule_small.py',
    '../_base_/default_runtime.py',
]

train_groups = ['Aero', 'Bottle', 'Car', 'Cat', 'Chair', 'Monitor', 'Person']
test_groups = ['Bicycle', 'Horse', 'Plant']
model = dict(
    modulators=dict(semantic=dict(num_classes=len(train_groups))),
    feature_cache=1000,  # each image and its mirror image; 0.4 GB
    test_cfg=dict(grouping='ssnm', group_size=5),
)
train_dataloader = dict(dataset=dict(groups=train_groups))
val_dataloader = dict(dataset=dict(groups=test_groups))
test_dataloader = val_dataloader
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=50))
