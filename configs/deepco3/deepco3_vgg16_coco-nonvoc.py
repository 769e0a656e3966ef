# On DeepCO3's COCO-NONVOC, as tools/dataset_converters/coco_nonvoc.py writes it.
_base_ = './deepco3_vgg16.py'
data_root = 'data/coco_nonvoc'
train_dataloader = dict(dataset=dict(type='COCONonVOCDataset', data_root=data_root))
test_dataloader = dict(dataset=dict(type='COCONonVOCDataset', data_root=data_root))
