# Without optimization: what the consensus and unlikeness to the images' borders call objects, split
# into the classes that recur. The data set says how many these are in each group;
# model.num_classes=K is for all. What `mmcoseg segment --method mccoseg` runs.
_base_ = [
    '../_base_/models/consensus_classes.py',
    '../_base_/datasets/multiclass.py',
    '../_base_/schedules/no_training.py',
    '../_base_/default_runtime.py',
]
