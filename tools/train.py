#!/usr/bin/env python
"""Train a model: the same as `mmcoseg train`, but also from a copy that is not installed."""

import sys
from pathlib import Path

# Python puts only this file's folder on the path. Beside it lies the package in the repository;
# in an installed package there is nothing of that name there, and the import finds the package.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmcoseg.cli import main

if __name__ == '__main__':
    sys.exit(main(command='train', prog='train.py'))
