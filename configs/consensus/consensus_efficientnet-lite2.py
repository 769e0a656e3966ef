# The default without training, see ../_base_/models/consensus.py; what `mmcoseg segment` runs.
_base_ = [
    '../_base_/models/consensus.py',
    '../_base_/datasets/coseg_test.py',
    '../_base_/schedules/no_training.py',
    '../_base_/default_runtime.py',
]
