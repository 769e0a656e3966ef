#!/usr/bin/env python
"""From DeepCO3's release, or PASCAL VOC 2012 (with SBD), to VOC12: images and instances.json."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmcoseg.datasets.converters import read_voc, run_instance_converter
from mmcoseg.datasets.instances import VOC12Dataset


def main(argv=None):
    return run_instance_converter(
        __doc__,
        lambda arguments: read_voc(arguments.source, arguments.sbd),
        VOC12Dataset.PUBLISHED,
        argv,
        original='VOCdevkit/VOC2012',
        add_arguments=lambda parser: parser.add_argument(
            '--sbd',
            metavar='DIR',
            help="SBD's folder with inst/*.mat, for the images that VOC itself does not segment",
        ),
    )


if __name__ == '__main__':
    sys.exit(main())
