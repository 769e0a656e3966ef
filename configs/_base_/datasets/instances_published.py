# The saliency (SalRes_ZhangICCV17) and the proposals (MCG_fast) that were published with DeepCO3's
# sets, which the converters note in instances.json.
_base_ = './instances.py'
test_pipeline = [
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='LoadProposals'),
            dict(type='LoadSaliency', size=(112, 112)),
            dict(type='ResizeToInput'),
            dict(type='LoadCoSegMask', with_instances=True),
        ],
    ),
    dict(type='PackGroupInputs'),
]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
