# The saliency (SalRes_ZhangICCV17) and the proposals (MCG_fast) that were published with DeepCO3's
# sets, which the converters note in instances.json.
_base_ = './instances.py'
image_size = (448, 448)
train_pipeline = [
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='LoadSaliency', size=(112, 112)),
            dict(type='Resize', scale=image_size, keep_ratio=False),
        ],
    ),
    dict(type='PackGroupInputs'),
]
test_pipeline = [
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='LoadProposals'),
            dict(type='LoadSaliency', size=(112, 112)),
            dict(type='Resize', scale=image_size, keep_ratio=False),
            dict(type='LoadCoSegMask', with_instances=True),
        ],
    ),
    dict(type='PackGroupInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
