# Baseline: k-means into the number of classes inside the foreground of the consensus.
_base_ = './consensus_efficientnet-lite2_multiclass.py'
model = dict(
    stages=dict(
        classes=dict(method='foreground', rounds=0, union=False),
        class_training=None,
    ),
)
