"""The published test sets, in the canonical layout."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from ..errors import MMCosegError
from ..registry import DATASETS
from .base import CoSegDataset, download_hint

__all__ = [
    'ICoseg8Dataset',
    'InternetDataset',
    'MSRC7Dataset',
    'NamedDataset',
    'PASCALCoSegDataset',
]


_DISCOVERY = 'http://people.csail.mit.edu/mrub/ObjectDiscovery/'


class NamedDataset(CoSegDataset):
    """A published set: its groups are known; some of them may be missing from the folder.

    Its groups are its ``METAINFO['groups']``, or else its classes.
    """

    #: Name of the converter under tools/dataset_converters.
    CONVERTER = ''
    #: Name of the type for other groups of this kind.
    GENERAL = 'CoSegDataset'

    def select(self, available: list[str], where: Path) -> list[str]:
        """Take only the published groups from the folder; a warning names the others."""
        published = self.METAINFO.get('groups', self.METAINFO['classes'])
        known = [name for name in published if name in available]
        if not known:
            groups = f'groups of {type(self).__name__} ({", ".join(published)})'
            raise MMCosegError(
                f'{where} has none of the {groups}; it has {available[:10]}. {self.HINT}.'
            )
        others = sorted(set(available) - set(known))
        if others:
            reason = f'{type(self).__name__} has no such groups; {self.GENERAL} takes any'
            warnings.warn(f'{where}: {", ".join(others[:20])} left out: {reason}', stacklevel=2)
        return super().select(known, where)

    def name_classes(self, names: Sequence[str]) -> None:
        """The classes are those published, whichever of them are used."""


@DATASETS.register_module()
class MSRC7Dataset(NamedDataset):
    """Subset of MSRC: 7 classes of 10 images (Vicente et al., CVPR 2011)."""

    CONVERTER = 'msrc'
    HINT = download_hint(f'it from {_DISCOVERY} (with its ground truth)', CONVERTER)
    METAINFO = dict(classes=('bird', 'car', 'cat', 'cow', 'dog', 'plane', 'sheep'))


@DATASETS.register_module()
class InternetDataset(NamedDataset):
    """Internet images: 3 classes of 100, some without the object (Rubinstein et al., CVPR 2013).

    The mask of an image without the object is all background.
    """

    CONVERTER = 'internet'
    HINT = download_hint(f'it from {_DISCOVERY} (the 100-image subsets)', CONVERTER)
    METAINFO = dict(classes=('airplane', 'car', 'horse'))


@DATASETS.register_module()
class ICoseg8Dataset(NamedDataset):
    """Subset of iCoseg: 8 groups (Batra et al., CVPR 2010; the choice of Faktor and Irani)."""

    CONVERTER = 'icoseg'
    HINT = download_hint('it from http://chenlab.ece.cornell.edu/projects/touch-coseg/', CONVERTER)
    METAINFO = dict(
        classes=tuple(
            'bear2 brownbear cheetah elephant helicopter hotballoon panda1 panda2'.split()
        )
    )


@DATASETS.register_module()
class PASCALCoSegDataset(NamedDataset):
    """PASCAL-VOC co-segmentation: 20 classes, 1,037 images (Faktor and Irani, ICCV 2013)."""

    CONVERTER = 'pascal_coseg'
    HINT = download_hint(
        'it from http://www.wisdom.weizmann.ac.il/~vision/CoSegmentationByComposition.html',
        CONVERTER,
    )
    METAINFO = dict(
        classes=tuple(
            'Aero Bicycle Bird Boat Bottle Bus Car Cat Chair Cow Dog Horse Mbike Monitor Person '
            'Plant Sheep Sofa Table Train'.split()
        )
    )
