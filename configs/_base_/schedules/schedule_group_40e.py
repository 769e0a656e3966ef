# DeepCO3's schedule: on each group by itself, 40 epochs, Adam at 1e-6.
test_cfg = dict(
    type='GroupOptimizationLoop',
    max_epochs=40,
    batch_size=6,
    optim_wrapper=dict(
        type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-6, weight_decay=5e-4)
    ),
)
