#!/usr/bin/env python
"""From the PASCAL-VOC co-segmentation download to the canonical layout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmcoseg.datasets.converters import Layout, run_converter
from mmcoseg.datasets.named import PASCALCoSegDataset

LAYOUT = Layout(
    groups={name: (name,) for name in PASCALCoSegDataset.METAINFO['classes']},
)

if __name__ == '__main__':
    sys.exit(run_converter(LAYOUT, __doc__))
