# A simulated person clicks on errors, one image after the other.
_base_ = './consensus_efficientnet-lite2.py'
test_cfg = dict(_delete_=True, type='ClickLoop', policy='next', images_to_80=5)
