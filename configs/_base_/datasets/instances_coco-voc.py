# DeepCO3's COCO-VOC, as tools/dataset_converters/coco_voc.py writes it.
_base_ = './instances.py'
data_root = 'data/coco_voc'
test_dataloader = dict(dataset=dict(type='COCOVOCDataset', data_root=data_root))
