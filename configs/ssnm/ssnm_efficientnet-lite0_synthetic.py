# The demonstration: five minutes on two cores, no files needed. Trained on 40 drawn categories,
# tested on 8 others.
_base_ = [
    '../_base_/models/ssnm_efficientnet-lite2.py',
    '../_base_/datasets/synthetic.py',
    '../_base_/schedules/schedule_small.py',
    '../_base_/default_runtime.py',
]

channels = 128
backbone_channels = [24, 40, 112, 320]
model = dict(
    backbone=dict(arch='lite0', frozen_stages=-1),
    neck=dict(in_channels=backbone_channels, channels=channels),
    modulators=dict(
        spatial=dict(in_channels=backbone_channels, channels=128),
        semantic=dict(in_channels=320, channels=channels, num_classes=40),
    ),
    decode_head=dict(in_channels=[channels] * 4),
)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
