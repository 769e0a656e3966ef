#!/usr/bin/env python
"""From PASCAL VOC 2012's class masks to groups of two or more classes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmcoseg.datasets.converters import run_voc_converter

if __name__ == '__main__':
    sys.exit(run_voc_converter(__doc__))
