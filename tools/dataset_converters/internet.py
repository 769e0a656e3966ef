#!/usr/bin/env python
"""From the Internet images of the Object Discovery release (100 a class) to the canonical layout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmcoseg.datasets.converters import Layout, run_converter
from mmcoseg.datasets.named import InternetDataset

LAYOUT = Layout(
    groups={name: (f'{name}100', name) for name in InternetDataset.METAINFO['classes']},
    published=InternetDataset.PUBLISHED,
)

if __name__ == '__main__':
    sys.exit(run_converter(LAYOUT, __doc__))
