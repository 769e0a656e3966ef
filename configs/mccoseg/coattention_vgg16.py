# Hsu et al.'s co-attention network (IJCAI 2018): one class and no attention. The network is that of
# the multi-class config; masks of several classes count as one.
_base_ = [
    '../_base_/models/mccoseg_vgg16.py',
    '../_base_/datasets/multiclass.py',
    '../_base_/schedules/schedule_group_10e.py',
    '../_base_/group_runtime.py',
]
model = dict(num_classes=1, max_classes=1, attention=None)
test_pipeline = [
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='Resize', scale=(384, 384), keep_ratio=False),
            dict(type='LoadCoSegMask'),
        ],
    ),
    dict(type='PackGroupInputs'),
]
train_dataloader = dict(dataset=dict(type='CoSegDataset'))
test_dataloader = dict(dataset=dict(type='CoSegDataset', pipeline=test_pipeline))
test_evaluator = dict(_delete_=True, type='CoSegMetric')
