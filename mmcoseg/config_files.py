"""Where configs are: found by path or by name, in the repository or in the installed package.

Light on purpose: nothing here imports torch or mmengine.
"""

import difflib
from pathlib import Path

from .errors import MMCosegError

__all__ = ['METHODS', 'config_of_method', 'config_root', 'find_base', 'find_config', 'list_configs']

#: Methods that segment groups without labels: the name for users -> the config.
METHODS = {
    'consensus': 'consensus/consensus_efficientnet-lite2',
    'ddt': 'consensus/ddt_efficientnet-lite2',
    'deepco3': 'deepco3/deepco3_efficientnet-lite2_photos',
    'dff': 'consensus/dff_efficientnet-lite2',
    'kmeans': 'consensus/kmeans_efficientnet-lite2',
    'mccoseg': 'mccoseg/consensus_efficientnet-lite2_multiclass',
    'spectral': 'consensus/spectral_efficientnet-lite2',
}

_PACKAGE = Path(__file__).resolve().parent


def config_of_method(method: str) -> str:
    """The name of the config of one of :data:`METHODS`."""
    if method not in METHODS:
        raise MMCosegError(
            f'there is no method {method!r}, only {sorted(METHODS)}; any other model is given '
            'by its config'
        )
    return METHODS[method]


def config_root() -> Path:
    """The folder of configs: the repository's, or the one inside the installed package."""
    for root in (_PACKAGE.parent / 'configs', _PACKAGE / '.mim' / 'configs'):
        if (root / '_base_' / 'default_runtime.py').is_file():
            return root
    raise FileNotFoundError(
        f'mmcoseg in {_PACKAGE} has no configs; install it with `pip install .` from the '
        'repository, or give the path of a config file'
    )


def list_configs() -> list[str]:
    """Names of all configs that can be run, such as ``ssnm/ssnm_hrnet_cocoseg``, sorted."""
    root = config_root()
    names = (path.relative_to(root).with_suffix('') for path in root.rglob('*.py'))
    return sorted(name.as_posix() for name in names if '_base_' not in name.parts)


def find_config(name: str) -> Path:
    """The config file that a user means.

    Args:
        name: a path, or the name of a config of the toolbox: ``ssnm/ssnm_hrnet_cocoseg`` or just
            ``ssnm_hrnet_cocoseg``, with ``configs/`` before it or ``.py`` after it as one likes.

    Raises:
        FileNotFoundError, MMCosegError: if there is none, or several have that name.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path.resolve()
    wanted = path.as_posix().removeprefix('./').removeprefix('configs/').removesuffix('.py')
    configs = list_configs()
    found = [c for c in configs if c == wanted or ('/' not in wanted and c.endswith(f'/{wanted}'))]
    if len(found) > 1:
        raise MMCosegError(f'several configs are named {name!r}: {found}; give the folder, too')
    if not found:
        raise FileNotFoundError(
            f'there is no config {name!r}, neither as a file nor among those of the toolbox; '
            + _hint(wanted, configs)
        )
    return config_root() / f'{found[0]}.py'


def find_base(name: str) -> Path:
    """The config below ``configs/`` that ``_base_ = 'mmcoseg::NAME'`` names."""
    path = config_root() / f'{name.removesuffix(".py")}.py'
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no config of the toolbox for _base_ = 'mmcoseg::{name}'; "
            + _hint(name.removesuffix('.py'), list_configs())
        )
    return path


def _hint(wanted: str, configs: list[str]) -> str:
    by_stem = {config.rsplit('/', 1)[-1]: config for config in configs}
    close = difflib.get_close_matches(wanted.rsplit('/', 1)[-1], by_stem, n=3, cutoff=0.4)
    if not close:
        return '`mmcoseg list configs` shows what there is'
    return f'did you mean {" or ".join(by_stem[stem] for stem in close)}?'
