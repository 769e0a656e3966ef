# Hsu et al.'s co-attention network (IJCAI 2018): one class and no attention. The network is that of
# the multi-class config; masks of several classes count as one.
_base_ = [
    '../_base_/models/mccoseg_vgg16.py',
    '../_base_/datasets/multiclass.py',
    '../_base_/schedules/schedule_group_10e.py',
    '../_base_/default_runtime.py',
]
model = dict(num_classes=1, max_classes=1, neck=None)
_base_.test_dataloader.dataset.pipeline[0].transforms[-1] = dict(type='LoadCoSegMask')
test_dataloader = dict(dataset=dict(type='CoSegDataset'))
test_evaluator = dict(_delete_=True, type='CoSegMetric')
