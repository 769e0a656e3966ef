# On DeepCO3's SOC, as tools/dataset_converters/soc.py writes it.
_base_ = './deepco3_efficientnet-lite2.py'
data_root = 'data/soc'
train_dataloader = dict(dataset=dict(type='SOCDataset', data_root=data_root))
test_dataloader = dict(dataset=dict(type='SOCDataset', data_root=data_root))
