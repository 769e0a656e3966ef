# DeepCO3's COCO-NONVOC, as tools/dataset_converters/coco_nonvoc.py writes it.
_base_ = './instances.py'
data_root = 'data/coco_nonvoc'
test_dataloader = dict(dataset=dict(type='COCONonVOCDataset', data_root=data_root))
