# DeepCO3's schedule: on each group by itself, 40 epochs, Adam at 1e-6.
train_cfg = dict(type='GroupOptimizationLoop', max_epochs=40)
test_cfg = dict(type='GroupOptimizationTestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-6, weight_decay=5e-4))
