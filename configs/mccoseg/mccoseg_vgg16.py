# Multi-class co-segmentation as published, on groups of two and three classes (--data-root).
_base_ = [
    '../_base_/models/mccoseg_vgg16.py',
    '../_base_/datasets/multiclass.py',
    '../_base_/schedules/schedule_group_10e.py',
    '../_base_/default_runtime.py',
]
