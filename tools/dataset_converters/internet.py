#!/usr/bin/env python
"""From the Internet images of the Object Discovery release to the canonical layout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmcoseg.datasets.converters import Layout, run_folder_converter
from mmcoseg.datasets.named import InternetDataset

LAYOUT = Layout(
    # The release also has folders `Car`, ... of thousands of images, most without ground truth.
    groups={name: (f'{name}100',) for name in InternetDataset.METAINFO['classes']},
    images_per_group=100,
    total=300,
)

if __name__ == '__main__':
    sys.exit(run_folder_converter(LAYOUT, __doc__))
