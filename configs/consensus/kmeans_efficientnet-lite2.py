# One k-means clustering of the group's locations: the cluster off the image borders.
_base_ = [
    '../_base_/models/training_free_efficientnet-lite2.py',
    '../_base_/datasets/coseg_test.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(out_stages=['stage6']),
    cues=dict(kmeans=dict(type='KMeansModulator', level=-1, num_clusters=4)),
)
