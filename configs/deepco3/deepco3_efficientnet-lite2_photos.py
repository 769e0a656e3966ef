# What `mmcoseg segment --method deepco3` runs: the offline config without specks, and without parts
# of objects beside the objects, which average precision likes and people who look at masks do not.
_base_ = './deepco3_efficientnet-lite2.py'
model = dict(
    nms=dict(containment=0.5),
    postprocessors=[dict(type='DenseCRF'), dict(type='CleanMask')],
)
