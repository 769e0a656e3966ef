#!/usr/bin/env python
"""From the PASCAL-VOC co-segmentation download to the canonical layout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmcoseg.datasets.converters import Layout, run_folder_converter
from mmcoseg.datasets.named import PASCALCoSegDataset

#: Names of PASCAL VOC and others in use.
ALIASES = dict(
    Aero=('aeroplane', 'airplane', 'plane'),
    Bicycle=('bike',),
    Mbike=('motorbike', 'motorcycle'),
    Monitor=('tvmonitor', 'tv'),
    Plant=('pottedplant',),
    Table=('diningtable',),
)
LAYOUT = Layout(
    groups={
        name: (name, *ALIASES.get(name, ())) for name in PASCALCoSegDataset.METAINFO['classes']
    },
    total=1037,
)

if __name__ == '__main__':
    sys.exit(run_folder_converter(LAYOUT, __doc__))
