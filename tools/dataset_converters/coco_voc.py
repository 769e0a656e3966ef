#!/usr/bin/env python
"""From DeepCO3's release, or COCO 2017, to COCO-VOC: images and instances.json."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmcoseg.datasets.converters import read_coco_images, run_instance_converter
from mmcoseg.datasets.converters.common import COCO_VOC_CLASSES
from mmcoseg.datasets.instances import COCOVOCDataset


def main(argv=None):
    return run_instance_converter(
        __doc__,
        lambda arguments: read_coco_images(arguments.source),
        COCOVOCDataset.PUBLISHED,
        argv,
        original="COCO's, with annotations/, train2017/ and val2017/",
        min_instances=2,
        categories=COCO_VOC_CLASSES,
    )


if __name__ == '__main__':
    sys.exit(main())
