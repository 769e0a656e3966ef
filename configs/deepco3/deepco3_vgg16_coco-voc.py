# On DeepCO3's COCO-VOC, as tools/dataset_converters/coco_voc.py writes it.
_base_ = './deepco3_vgg16.py'
data_root = 'data/coco_voc'
train_dataloader = dict(dataset=dict(type='COCOVOCDataset', data_root=data_root))
test_dataloader = dict(dataset=dict(type='COCOVOCDataset', data_root=data_root))
