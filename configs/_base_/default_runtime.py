# What every run shares. A method's config only says where it differs.
default_scope = 'mmcoseg'

# The data are a function of (seed, draw) and the network's own randomness (dropout, drop-path)
# of (seed, rank, iteration), so that a resumed run continues exactly as if it had not stopped.
randomness = dict(seed=0)
custom_hooks = [dict(type='IterationSeedHook')]

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='CheckpointHook',
        by_epoch=False,
        interval=1000,
        max_keep_ckpts=2,
        greater_keys=['J', 'P', 'mAP', 'CorLoc'],  # scores of which save_best keeps the highest
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='GroupVisualizationHook'),
)

# 'nccl' becomes 'gloo' by itself where there is no GPU: see mmcoseg.engine.launch.
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)

vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='GroupVisualizer', vis_backends=vis_backends, name='visualizer')

log_processor = dict(by_epoch=False)
log_level = 'INFO'
load_from = None
resume = False
# Whether the learning rate follows the global batch size is decided on the command line
# (--auto-scale-lr); the base is the number of groups of one step that the rate was chosen for.
auto_scale_lr = dict(enable=False, base_batch_size=4)
