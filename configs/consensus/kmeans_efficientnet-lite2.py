# One k-means clustering of the group's locations: the cluster off the image borders.
_base_ = [
    '../_base_/models/training_free.py',
    '../_base_/datasets/coseg_test.py',
    '../_base_/schedules/no_training.py',
    '../_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(size=(385, 385)),
    backbone=dict(out_stages=['stage6']),
    stages=dict(kmeans=dict(type='ConsensusCue', level=-1, num_clusters=[4], num_seeds=1)),
)
