# Nothing to train or to optimize.
test_cfg = dict(type='TestLoop')
