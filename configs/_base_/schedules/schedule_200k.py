# SSNM's published schedule: Adam (0.9, 0.999), lr 1e-4 halved every 25,000 of 200,000 steps.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=200_000, val_interval=25_000)
val_cfg = dict(type='ValLoop')

optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.0)
)
param_scheduler = [dict(type='StepLR', by_epoch=False, step_size=25_000, gamma=0.5)]
