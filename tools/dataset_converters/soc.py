#!/usr/bin/env python
"""From DeepCO3's release, or SOC's (SOC6K), to DeepCO3's set SOC: images and instances.json."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmcoseg.datasets.converters import read_soc, run_instance_converter
from mmcoseg.datasets.instances import SOCDataset


def main(argv=None):
    return run_instance_converter(
        __doc__,
        lambda arguments: read_soc(arguments.source),
        SOCDataset.PUBLISHED,
        argv,
        original="the folder with SOC's TrainSet/ and ValSet/",
    )


if __name__ == '__main__':
    sys.exit(main())
