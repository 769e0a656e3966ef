"""CVAT's archives of COCO instances, written and read."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

from ..errors import MMCosegError
from ..files import write_atomically
from .documents import coco_document
from .records import GroupRecord

__all__ = ['coco_files_in', 'write_cvat']

#: CVAT's name of the annotations of a task without subsets.
_FILE = 'annotations/instances_default.json'


def write_cvat(file: str | Path, groups: Sequence[GroupRecord]) -> None:
    """An archive that CVAT imports as "COCO 1.0".

    Masks have ``iscrowd=1``, as those that CVAT itself writes. Scores would become attributes,
    which labels do not have there.
    """
    document = coco_document(groups)
    for annotation in document['annotations']:
        annotation['iscrowd'] = int(isinstance(annotation['segmentation'], dict))
        del annotation['score']
    with write_atomically(file) as target, ZipFile(target, 'w') as archive:
        # Without the time, so that the same content gives the same file.
        archive.writestr(ZipInfo(_FILE), json.dumps(document, allow_nan=False), ZIP_DEFLATED)


def coco_files_in(file: str | Path) -> dict[str, Any]:
    """Name -> content of the files of COCO instances in an archive.

    Raises:
        MMCosegError: if it is no archive, or none of such files.
    """
    found = {}
    try:
        with ZipFile(file) as archive:
            for name in archive.namelist():
                if name.startswith('annotations/') and name.endswith('.json'):
                    found[name] = json.loads(archive.read(name))
    except (BadZipFile, ValueError) as error:
        raise MMCosegError(f'{file} cannot be read ({error}); export it once more') from error
    if not found:
        raise MMCosegError(
            f'{file} has no annotations/*.json; export it from CVAT in the format "COCO 1.0"'
        )
    return found
