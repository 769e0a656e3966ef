# Classes that training shows, images that it does not: trained on one half of the images of each
# group, tested on the other.
_base_ = './ssnm_efficientnet-lite2_pascal-coseg.py'
train_dataloader = dict(dataset=dict(groups=None, fold=(0, 2)))
val_dataloader = dict(dataset=dict(groups=None, fold=(1, 2)))
test_dataloader = val_dataloader
