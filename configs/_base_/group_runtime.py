# What runs share that optimize a model on each group: the loop writes the log of an epoch itself.
_base_ = './default_runtime.py'
default_hooks = dict(logger=dict(type='GroupLoggerHook'))
