# The default without training: many clusterings of the group's locations agree on where the common
# object is, preferring what stands out in the images; what was found is then drawn at the images'
# edges and learned again.
_base_ = './training_free.py'
model = dict(
    stages=dict(
        saliency=dict(type='SaliencyCue'),
        consensus=dict(type='ConsensusCue', level=1, saliency_exponent=1.0),
        mean=dict(type='WeightedMean', weights=dict(saliency=0.2, consensus=0.8)),
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
        ),
        steady=dict(type='SteadyMaps', levels=[0, 1]),  # acts on sequences alone
        follow_hints=dict(type='FollowHints', levels=[0, 1]),
        presence=dict(type='PrototypePresence', level=1),
    ),
)
