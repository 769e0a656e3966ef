# On DeepCO3's VOC12, as tools/dataset_converters/voc12.py writes it.
_base_ = './deepco3_efficientnet-lite2.py'
data_root = 'data/voc12'
train_dataloader = dict(dataset=dict(type='VOC12Dataset', data_root=data_root))
test_dataloader = dict(dataset=dict(type='VOC12Dataset', data_root=data_root))
