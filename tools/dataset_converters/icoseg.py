#!/usr/bin/env python
"""From the iCoseg download to the canonical layout, for the sub-set of eight groups."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmcoseg.datasets.converters import Layout, run_folder_converter
from mmcoseg.datasets.named import ICoseg8Dataset

LAYOUT = Layout(
    groups={
        **{name: (name, f'{name}s') for name in ICoseg8Dataset.METAINFO['classes']},
        'helicopter': ('helicopter', 'helicopters', 'airshows helicopter'),
        'panda1': ('panda1', 'pandas'),
        'panda2': ('panda2', 'pandas'),
    },
)

if __name__ == '__main__':
    sys.exit(run_folder_converter(LAYOUT, __doc__))
