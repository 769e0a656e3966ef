"""Arrays of MATLAB files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from .errors import MMCosegError
from .optional import import_optional

__all__ = ['read_mat']


def read_mat(path: str | Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays of a MATLAB file of any version, with MATLAB's order of dimensions.

    Raises:
        ImportError: if it is of version 7.3 (HDF5) and h5py is missing.
        MMCosegError: if it is damaged or lacks one of the arrays.
    """
    with open(path, 'rb') as file:
        hdf5 = b'\x89HDF\r\n\x1a\n' in file.read(520)
    try:
        if hdf5:
            arrays = _read_hdf5(path, names)
        else:
            arrays = loadmat(path, variable_names=list(names))
    except ImportError:
        raise
    except Exception as error:  # the readers raise anything on damaged files
        raise MMCosegError(f'{path} cannot be read, it seems damaged: {error}') from error
    missing = [name for name in names if name not in arrays]
    if missing:
        raise MMCosegError(f'{path} has no {" and no ".join(missing)}')
    return {name: np.asarray(arrays[name]) for name in names}


def _read_hdf5(path: str | Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    h5py = import_optional('h5py', f'reading {path}', "Install it: `pip install 'mmcoseg[mat]'`")
    with h5py.File(path, 'r') as file:
        # HDF5 has the rows last that MATLAB has first.
        return {name: file[name][()].T for name in names if name in file}
