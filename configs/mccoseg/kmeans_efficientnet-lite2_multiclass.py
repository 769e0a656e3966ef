# Baseline: k-means of all locations into one cluster more than there are classes; that which holds
# most of the images' borders for its size is background.
_base_ = './consensus_efficientnet-lite2_multiclass.py'
model = dict(refiners=dict(self_training=None, classes=dict(method='all', rounds=0)))
