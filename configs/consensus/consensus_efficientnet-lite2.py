# The default without training: many clusterings of the group's locations agree on where the common
# object is, and what varies most over the group says how far it reaches.
_base_ = [
    '../_base_/models/training_free_efficientnet-lite2.py',
    '../_base_/datasets/coseg_test.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(taps=['stage6', 'head']),
    cues=dict(
        consensus=dict(type='ConsensusModulator', level=0),
        ddt=dict(type='DDTModulator', level=1, threshold='otsu'),
    ),
    cue_weights=dict(consensus=0.6, ddt=0.4),
)
