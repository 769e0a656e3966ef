"""From the layouts in which data sets are published to those that the toolbox reads."""

from .folders import Layout, run_folder_converter
from .instances import run_instance_converter
from .sources import read_coco_images, read_soc, read_voc
from .voc_groups import run_voc_converter

__all__ = [
    'Layout',
    'read_coco_images',
    'read_soc',
    'read_voc',
    'run_folder_converter',
    'run_instance_converter',
    'run_voc_converter',
]
