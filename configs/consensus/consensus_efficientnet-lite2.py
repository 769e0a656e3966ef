# The default without training: many clusterings of the group's locations agree on where the common
# object is, preferring what stands out in the images; what was found is then drawn at the images'
# edges and learned again.
_base_ = [
    '../_base_/models/training_free_efficientnet-lite2.py',
    '../_base_/datasets/coseg_test.py',
    '../_base_/default_runtime.py',
]
image_size = (513, 513)
model = dict(
    backbone=dict(out_stages=['stage5', 'stage6']),
    cues=dict(
        saliency=dict(type='SaliencyModulator'),
        consensus=dict(type='ConsensusModulator', level=1, prior_exponent=1.0),
    ),
    cue_weights=dict(saliency=0.2, consensus=0.8),
    refiners=dict(
        self_training=dict(
            type='SelfTraining',
            levels=[0, 1],
            area=1.1,
            targets=dict(
                type='DenseCRF',
                max_side=192,
                bilateral=(78, 10, 5),
                gaussian=(5, 3),
                logit_shift=0.2,
            ),
        )
    ),
    presence=dict(type='PrototypePresence', level=1),
)
test_pipeline = [
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='Resize', scale=image_size, keep_ratio=False, interpolation='area'),
            dict(type='ComputeSaliency'),
            dict(type='LoadCoSegMask'),
        ],
    ),
    dict(type='PackGroupInputs'),
]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
