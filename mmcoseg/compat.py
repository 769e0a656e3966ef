"""The only place that knows about versions of torch and mm*, and of what Pillow reads."""

import ctypes
import logging
import os
import re
import struct
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pickle import UnpicklingError
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner.checkpoint import CheckpointLoader, get_torch_safe_globals
from PIL import Image
from torch import nn

from .config_files import find_base
from .errors import MMCosegError

__all__ = [
    'load_checkpoint_file',
    'our_configs_as_bases',
    'pillow_reads_avif',
    'pillow_reads_heif',
    'quiet_imports',
    'state_of_checkpoint',
    'unwrapped',
    'use_safe_checkpoints',
]


@contextmanager
def our_configs_as_bases() -> Iterator[None]:
    """Meanwhile ``_base_ = 'mmcoseg::ssnm/...'`` in a config means one of the toolbox.

    mmengine has a fixed list of the packages that it finds by such names.
    """
    theirs = Config._get_cfg_path

    def path_of(cfg_path: str, filename: str) -> tuple[str, str | None]:
        if cfg_path.startswith('mmcoseg::'):
            return str(find_base(cfg_path.removeprefix('mmcoseg::'))), None
        return theirs(cfg_path, filename)

    Config._get_cfg_path = staticmethod(path_of)
    try:
        yield
    finally:
        Config._get_cfg_path = staticmethod(theirs)


def quiet_imports() -> None:
    """Import what mmsegmentation registers, without its remarks on packages that are not there."""
    with redirect_stdout(StringIO()), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        import mmseg.datasets
        import mmseg.models  # noqa: F401


def pillow_reads_heif() -> bool:
    """Let Pillow read HEIC files by the package pillow-heif; whether that is there."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def pillow_reads_avif() -> bool:
    """Whether Pillow reads AVIF files: from 11.3 on, unless it was built without."""
    return '.avif' in Image.registered_extensions()


#: What torch raises of files that are damaged, or something else.
_UNREADABLE = (UnpicklingError, RuntimeError, EOFError, LookupError, ValueError, struct.error)


def load_checkpoint_file(
    filename: str, map_location: Any = 'cpu', trust: bool = False
) -> dict[str, Any]:
    """Read a checkpoint file without running code that it may hold.

    mmengine unpickles anything when the safe way fails; here only with ``trust``, for files from
    people you trust: they can run any program on this machine.

    Raises:
        FileNotFoundError: if there is no such file.
        MMCosegError: if the file is damaged, is no checkpoint, or holds more than data.
    """
    try:
        if trust:
            return torch.load(filename, map_location=map_location, weights_only=False)
        with torch.serialization.safe_globals(get_torch_safe_globals()):
            return torch.load(filename, map_location=map_location, weights_only=True)
    except FileNotFoundError:
        raise FileNotFoundError(f'there is no checkpoint {filename}') from None
    except _UNREADABLE as error:
        code = re.search(r'GLOBAL (\S+)', str(error))
        if code is None:
            problem = f'cannot be read as a checkpoint, it seems damaged or incomplete: {error}'
        else:
            problem = (
                'holds more than tensors and plain data, and reading it could run a program hidden '
                f'in it (it asks for {code[1]}). If you trust where it comes from, pass '
                '--trust-checkpoint'
            )
        raise MMCosegError(f'{filename} {problem}') from error


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside the wrapper of a distributed run, if there is one."""
    return model.module if is_model_wrapper(model) else model


def state_of_checkpoint(content: Any) -> dict[str, Any]:
    """The weights in what a checkpoint file holds, by the names that the model has for them."""
    state = content.get('state_dict', content) if isinstance(content, dict) else {}
    return {key.removeprefix('module.'): value for key, value in state.items()}


def use_safe_checkpoints(trust: bool = False) -> None:
    """Make mmengine's runner read local checkpoints by :func:`load_checkpoint_file`."""

    def load(filename: str, map_location: Any = None) -> dict[str, Any]:
        return load_checkpoint_file(filename, map_location, trust)

    if trust:
        print_log('checkpoints are unpickled without restriction', 'current', logging.WARNING)
    CheckpointLoader.register_scheme(prefixes='', loader=load, force=True)


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory for the next tensors; whether that took effect.

    Otherwise each large tensor's pages are asked for and cleared anew, which takes a quarter of
    the time of a network on the CPU. It holds for the whole process.
    """
    mallopt = _of_libc('mallopt')
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
    mebibytes = 2**20
    # What is larger than a layer's output is still given back at once.
    return bool(
        mallopt(mmap_threshold, 64 * mebibytes) and mallopt(trim_threshold, 128 * mebibytes)
    )


def share_freed_memory() -> bool:
    """Tell glibc to keep freed memory for all threads together; whether that took effect.

    Otherwise each thread that answers requests keeps some of its own. To be called first.
    """
    arena_max = -8  # M_ARENA_MAX of malloc.h
    return bool(_of_libc('mallopt')(arena_max, 1))


def keep_little_memory() -> bool:
    """Tell glibc to give back large blocks at once; whether that took effect.

    They leave holes between what stays. It slows a network down by a quarter or more.
    """
    mmap_threshold = -3  # M_MMAP_THRESHOLD of malloc.h
    return bool(_of_libc('mallopt')(mmap_threshold, 2**18))


def give_way() -> None:
    """Let other threads and programs go before this thread and those that it starts, on Linux."""
    if sys.platform == 'linux':
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def return_freed_memory() -> None:
    """Give freed memory back to the system at once, the holes between what is in use too."""
    _of_libc('malloc_trim')(0)


def _of_libc(name: str) -> Callable[..., int]:
    """A function of the C library; where it has none of that name, one that does nothing."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return lambda *_: 0
