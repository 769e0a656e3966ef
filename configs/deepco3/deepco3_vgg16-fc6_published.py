# DeepCO3 as released: the network of the published code, and the saliency and the proposals that
# were published with the sets (--data-root data/coco_voc, as tools/dataset_converters write it).
_base_ = [
    '../_base_/models/deepco3_vgg16-fc6.py',
    '../_base_/datasets/instances_published.py',
    '../_base_/schedules/schedule_group_40e.py',
    '../_base_/default_runtime.py',
]
