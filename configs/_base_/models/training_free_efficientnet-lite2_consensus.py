# The consensus as in configs/consensus, for sets that are scored otherwise.
_base_ = './training_free_efficientnet-lite2.py'
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
)
