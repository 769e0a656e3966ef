_base_ = [
    '../_base_/models/ssnm_vgg16.py',
    '../_base_/datasets/cocoseg.py',
    '../_base_/schedules/schedule_200k.py',
    '../_base_/default_runtime.py',
]
