# DeepCO3's SOC, as tools/dataset_converters/soc.py writes it.
_base_ = './instances.py'
data_root = 'data/soc'
test_dataloader = dict(dataset=dict(type='SOCDataset', data_root=data_root))
