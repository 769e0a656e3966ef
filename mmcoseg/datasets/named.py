"""The published test sets, in the canonical layout."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from ..errors import MMCosegError
from ..registry import DATASETS
from .base import CoSegDataset

__all__ = [
    'ICoseg8Dataset',
    'InternetDataset',
    'MSRC7Dataset',
    'NamedDataset',
    'PASCALCoSegDataset',
]


class NamedDataset(CoSegDataset):
    """A published set: its groups are known; some of them may be missing from the folder.

    Its groups are its ``METAINFO['groups']``, without those its classes.
    """

    #: Name of the converter under tools/dataset_converters.
    CONVERTER = ''
    #: Name of the type for other groups of this kind.
    GENERAL = 'CoSegDataset'

    def __init_subclass__(cls) -> None:
        cls.HINT = (
            f'Download it from {cls.SOURCE} and run '
            f'`python tools/dataset_converters/{cls.CONVERTER}.py DOWNLOAD data/{cls.CONVERTER}`; '
            'then set data_root'
        )

    SOURCE = ''

    def _select(self, available: list[str], where: Path) -> list[str]:
        """Only the published classes are taken from the folder; a warning names the others.

        Raises:
            MMCosegError: if it has none of them, or not one that was asked for.
        """
        published = self.METAINFO.get('groups', self.METAINFO['classes'])
        known = [name for name in published if name in available]
        if not known:
            raise MMCosegError(
                f'{where} has none of the groups of {type(self).__name__} '
                f'({", ".join(published)}); it has {available[:10]}. {self.HINT}.'
            )
        others = sorted(set(available) - set(known))
        if others:
            warnings.warn(
                f'{where}: {", ".join(others[:20])} left out, for {type(self).__name__} has no '
                f'such groups; {self.GENERAL} takes any',
                stacklevel=2,
            )
        return super()._select(known, where)

    def _set_classes(self, names: Sequence[str]) -> None:
        """The classes are those published, whichever of them are used."""


@DATASETS.register_module()
class MSRC7Dataset(NamedDataset):
    """Sub-set of MSRC: 7 classes of 10 images (Vicente et al., CVPR 2011)."""

    CONVERTER = 'msrc'
    SOURCE = 'http://people.csail.mit.edu/mrub/ObjectDiscovery/ (with its ground truth)'
    METAINFO = dict(classes=('bird', 'car', 'cat', 'cow', 'dog', 'plane', 'sheep'))
    #: Number of images in publications.
    PUBLISHED = dict.fromkeys(METAINFO['classes'], 10)


@DATASETS.register_module()
class InternetDataset(NamedDataset):
    """Internet images: 3 classes of 100, some without the object (Rubinstein et al., CVPR 2013).

    The mask of an image without the object is all background.
    """

    CONVERTER = 'internet'
    SOURCE = 'http://people.csail.mit.edu/mrub/ObjectDiscovery/ (the 100-image sub-sets)'
    METAINFO = dict(classes=('airplane', 'car', 'horse'))
    PUBLISHED = dict.fromkeys(METAINFO['classes'], 100)


@DATASETS.register_module()
class ICoseg8Dataset(NamedDataset):
    """Sub-set of iCoseg: 8 groups (Batra et al., CVPR 2010; the choice of Faktor and Irani)."""

    CONVERTER = 'icoseg'
    SOURCE = 'http://chenlab.ece.cornell.edu/projects/touch-coseg/'
    METAINFO = dict(
        classes=(
            'bear2',
            'brownbear',
            'cheetah',
            'elephant',
            'helicopter',
            'hotballoon',
            'panda1',
            'panda2',
        )
    )


@DATASETS.register_module()
class PASCALCoSegDataset(NamedDataset):
    """PASCAL-VOC co-segmentation: 20 classes, 1,037 images (Faktor and Irani, ICCV 2013)."""

    CONVERTER = 'pascal_coseg'
    SOURCE = 'http://www.wisdom.weizmann.ac.il/~vision/CoSegmentationByComposition.html'
    METAINFO = dict(
        classes=(
            'Aero',
            'Bicycle',
            'Bird',
            'Boat',
            'Bottle',
            'Bus',
            'Car',
            'Cat',
            'Chair',
            'Cow',
            'Dog',
            'Horse',
            'Mbike',
            'Monitor',
            'Person',
            'Plant',
            'Sheep',
            'Sofa',
            'Table',
            'Train',
        )
    )
