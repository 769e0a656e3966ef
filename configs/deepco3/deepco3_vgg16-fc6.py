# DeepCO3 with the network of the published code, on any set of groups with instances (--data-root).
_base_ = [
    '../_base_/models/deepco3_vgg16-fc6.py',
    '../_base_/datasets/instances.py',
    '../_base_/schedules/schedule_group_40e.py',
    '../_base_/default_runtime.py',
]
