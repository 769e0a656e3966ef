"""Groups whose images show objects of several classes, told apart by their masks."""

from collections.abc import Sequence
from pathlib import Path

from ..errors import MMCosegError
from ..registry import DATASETS
from .base import CoSegDataset, download_hint, group_names
from .coco_file import read_json
from .named import NamedDataset

__all__ = [
    'CLASSES_FILE',
    'PUBLISHED_GROUPS',
    'MultiClassCoSegDataset',
    'MultiClassVOCDataset',
    'classes_in_name',
    'read_class_names',
]

#: The file, beside ``images/``, that names the classes of groups whose name does not.
CLASSES_FILE = 'classes.json'

#: The ten groups of the thesis' test set (section 4.1), as it names them.
PUBLISHED_GROUPS = tuple(
    'airplane+person bicycle+person boat+person ball+dog car+person cow+person horse+person '
    'sofa+dog car+dog+person boat+dog+person'.split()
)


def classes_in_name(group: str) -> tuple[str, ...]:
    """The classes that a group's name ``a+b`` gives, in the order of their mask values 1..K.

    Example:
        >>> classes_in_name('sofa+dog')
        ('sofa', 'dog')
    """
    return _checked(group.split('+'), f'the name of the group {group!r}')


def _checked(names: Sequence[str], where: str) -> tuple[str, ...]:
    names = group_names(where, names, chosen=False)
    if not names or not all(names) or len(set(names)) < len(names):
        raise MMCosegError(
            f'{where} must name each class of the masks once, in the order of the mask values '
            f'1, 2, ..., got {names}; rename it, or give the names in {CLASSES_FILE}'
        )
    return tuple(names)


@DATASETS.register_module()
class MultiClassCoSegDataset(CoSegDataset):
    """Groups of images that show objects of the same K classes; one item is one group.

    The layout::

        data_root/
            images/<a+b>/*.jpg
            masks/<a+b>/<stem>.png    0 background, 1..K classes, 255 void
            classes.json              optional: {"<group>": ["<class 1>", "<class 2>", ...]}

    A group's name ``a+b`` names its classes in the order of the mask values, ``a`` is 1; groups
    with other names have theirs in ``classes.json``. One without ``+`` is of a single class.
    ``label_ids`` of a group record are the numbers of all its classes, in the order of the mask
    values, and ``num_classes`` is K, also where ``label_ids`` is empty. Image records have the same
    ``label_ids``, since only the masks tell which image lacks a class. ``metainfo['classes']`` are
    all names, sorted, each once.

    In pipelines masks are loaded with ``LoadCoSegMask(binary=False, values='label')``, which keeps
    the classes apart.

    Args:
        data_root: folder of the data set.
        **kwargs: as in ``CoSegDataset``. With ``metainfo['classes']``, a group with a class that is
            not among them has no category numbers.
    """

    HINT = (
        'It must hold images/<a+b>/*.jpg and masks/<a+b>/<stem>.png (0 background, 1 for a, 2 for '
        'b, 255 void); `mmcoseg check-data ROOT` tells what a folder has'
    )

    BY_CATEGORY = False

    def select(self, available: list[str], where: Path) -> list[str]:
        self._names_in_file = read_class_names(Path(self.data_root or '') / CLASSES_FILE)
        return super().select(available, where)

    def classes_of(self, group: str) -> tuple[str, ...]:
        """Names of a group's classes, in the order of the mask values 1..K."""
        return self._names_in_file.get(group) or classes_in_name(group)

    def name_classes(self, names: Sequence[str]) -> None:
        classes = {name for group in names for name in self.classes_of(group)}
        self._metainfo.setdefault('classes', tuple(sorted(classes)))

    def _group_record(self, group: str, folder: Path) -> dict:
        record = super()._group_record(group, folder)
        return dict(record, num_classes=len(self.classes_of(group)))

    def label_ids_of(self, category: str) -> tuple[int, ...]:
        """Numbers of a group's classes among ``metainfo['classes']``, in the order of the mask
        values; empty if one of them is not among these."""
        classes = list(self._metainfo['classes'])
        try:
            return tuple(classes.index(name) for name in self.classes_of(category))
        except ValueError:
            return ()


def read_class_names(file: Path) -> dict[str, tuple[str, ...]]:
    """Names of classes by group, from :data:`CLASSES_FILE`, where there is one."""
    content = read_json(file) if file.is_file() else {}
    if not isinstance(content, dict):
        form = '{"<group>": ["<class 1>", ...]}'
        raise MMCosegError(f'{file} must be of the form {form}, got {type(content).__name__}')
    return {group: _checked(names, f'{file}, {group!r},') for group, names in content.items()}


@DATASETS.register_module()
class MultiClassVOCDataset(NamedDataset, MultiClassCoSegDataset):
    """The thesis' test set: ten groups of about 80 images, two or three classes each (section 4.1).

    Its images are from PASCAL VOC 2012 and from the web; the latter were not published. The
    converter makes the nine groups with classes of VOC (all but ball+dog) from VOC alone: figures
    are not comparable with published ones. Groups may be missing; for others use
    ``MultiClassCoSegDataset``.
    """

    CONVERTER = 'voc_multiclass'
    GENERAL = 'MultiClassCoSegDataset'
    HINT = download_hint(
        'it from http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ (training and validation data)',
        CONVERTER,
    )
    METAINFO = dict(
        groups=PUBLISHED_GROUPS,
        classes=tuple(sorted({name for group in PUBLISHED_GROUPS for name in group.split('+')})),
    )
