# Multi-class co-segmentation: on each group by itself, 10 epochs, Adam; pretrained layers at 1e-6.
test_cfg = dict(
    type='GroupOptimizationLoop',
    max_epochs=10,
    batch_size=3,
    optim_wrapper=dict(
        type='OptimWrapper',
        optimizer=dict(type='Adam', lr=1e-4, weight_decay=5e-4),
        paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.01))),
    ),
)
