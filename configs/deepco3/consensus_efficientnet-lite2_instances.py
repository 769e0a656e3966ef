# Without optimization: the connected parts of the consensus' mask. What DeepCO3 here begins with.
_base_ = [
    '../_base_/models/consensus.py',
    '../_base_/datasets/instances.py',
    '../_base_/schedules/no_training.py',
    '../_base_/default_runtime.py',
]
model = dict(postprocessors=[dict(type='DenseCRF'), dict(type='InstancesFromMask')])
