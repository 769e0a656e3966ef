#!/usr/bin/env python
"""From the MSRC images of the Object Discovery release to the canonical layout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmcoseg.datasets.converters import Layout, run_folder_converter
from mmcoseg.datasets.named import MSRC7Dataset

LAYOUT = Layout(
    groups={name: (name, f'{name}s') for name in MSRC7Dataset.METAINFO['classes']},
    images_per_group=10,
    total=70,
)

if __name__ == '__main__':
    sys.exit(run_folder_converter(LAYOUT, __doc__))
