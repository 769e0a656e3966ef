"""Post-processors: called with a ``GroupDataSample`` that has predictions, which they improve.

What they do to one image are functions of arrays: ``mmcoseg.mean_field.dense_crf``,
``clean_mask.clean_labels``. Others choose among masks: ``InstanceRanking``, ``MaskNMS``.
"""

from .clean_mask import CleanMask
from .dense_crf import DenseCRF
from .edge_refiner import EdgeRefiner
from .instance_ranking import InstanceRanking
from .instances_from_mask import InstancesFromMask
from .mask_nms import MaskNMS
from .salient_regions import SalientRegions

__all__ = [
    'CleanMask',
    'DenseCRF',
    'EdgeRefiner',
    'InstanceRanking',
    'InstancesFromMask',
    'MaskNMS',
    'SalientRegions',
]
