"""What results in a folder depend on; their state itself is in ``export/run_state.py``."""

import hashlib
import os

import numpy as np

from ..export.run_state import (
    FinishedImage,
    GroupState,
    RunState,
    Signature,
    SkippedImage,
    only_run,
)
from .inputs import ImageItem, InputGroup

__all__ = ['FinishedImage', 'GroupState', 'RunState', 'SkippedImage', 'only_run', 'signatures_of']


def signatures_of(group: InputGroup) -> dict[str, Signature]:
    """File name of each image -> what its result depends on: its content and the group's hints."""
    hints = [(item.file_name, item.hints) for item in group.items if item.hints]
    suffix = []
    if hints:
        suffix = [hashlib.sha1(repr((group.classes, hints)).encode()).hexdigest()]
    signatures = {}
    for item in group.items:
        content = _signature_of(item)
        signatures[item.file_name] = None if content is None else [*content, *suffix]
    return signatures


def _signature_of(item: ImageItem) -> Signature:
    """Size and time of a file, or the hash of an image in memory."""
    if item.path is None:
        pixels = np.asarray(item.image)
        return [hashlib.sha1(pixels.tobytes() + str(pixels.shape).encode()).hexdigest()]
    try:
        status = os.stat(item.path)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]
