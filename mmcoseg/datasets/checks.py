"""What a data set on disk holds, and everything that is wrong with it."""

import hashlib
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ..errors import MMCosegError
from ..structures.rle import polygons_with_area
from .base import CoSegDataset, is_image_name, visible_folders
from .coco_file import CocoFile, area_of, image_size, read_coco, rle_of
from .image_io import read_image, read_mask
from .instances import common_categories, split_file_name
from .multiclass import CLASSES_FILE, classes_in_name, read_class_names
from .transforms.loading import mask_doubt

__all__ = ['DataReport', 'Problem', 'check_data', 'format_report']


#: Threads that read images.
_NUM_READERS = 4


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong: ``severity`` is ``'error'`` or ``'warning'``."""

    severity: str
    path: str
    message: str


@dataclass
class GroupFacts:
    """What a group holds.

    ``object_share`` is the mean over its masks; ``class_images`` says, where masks tell classes
    apart, how many of them have each value.
    """

    images: int = 0
    masks: int = 0
    instances: int = 0
    without_object: int = 0
    object_share: float = 0.0
    class_images: dict[int, int] = field(default_factory=dict)
    widths: tuple[int, int] = (0, 0)
    heights: tuple[int, int] = (0, 0)


@dataclass
class DataReport:
    """The result of :func:`check_data`."""

    root: str
    groups: dict[str, GroupFacts] = field(default_factory=dict)
    mask_values: Counter = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)

    @property
    def errors(self) -> list[Problem]:
        """The problems that training or testing would stumble over."""
        return [problem for problem in self.problems if problem.severity == 'error']

    def add(self, severity: str, path: Path, message: str) -> None:
        """Take down a problem."""
        self.problems.append(Problem(severity, str(path), message))

    @contextmanager
    def collect(
        self, path: Path, before: str = 'cannot be used: ', severity: str = 'error'
    ) -> Iterator[None]:
        """Take down an error in a user's file instead of raising it."""
        try:
            yield
        except (ValueError, OSError) as error:
            self.add(severity, path, f'{before}{error}')


def check_data(root: str | Path, progress: bool = True) -> DataReport:
    """Look at every file of a data set in the canonical layout, and collect all that is wrong.

    Args:
        root: folder with ``images/``, and ``masks/`` or ``instances.json``.
        progress: show a progress bar.
    """
    root = Path(root)
    if not (root / 'images').is_dir():
        raise FileNotFoundError(f'there is no folder {root / "images"}. {CoSegDataset.HINT}.')
    report = DataReport(str(root))
    folders = visible_folders(root / 'images')
    _check_layout(root, folders, report)
    pairs: list[_Pair] = []
    with ThreadPoolExecutor(_NUM_READERS) as pool:
        for folder in track(folders, 'checking', disable=not progress):
            found = _read_group(folder, root / 'masks' / folder.name, pool, report)
            report.groups[folder.name] = _facts_of(found)
            pairs += found
    for rule in (_check_pairs, _check_copies, _check_conventions, _check_classes):
        rule(root, pairs, report)
    file = root / 'instances.json'
    if file.is_file():
        with report.collect(file):
            coco = read_coco(file, report=lambda kind, message: report.add(kind, file, message))
            _check_instances(file, coco, pairs, report)
    report.problems.sort()
    return report


#: Values that masks have by convention, the first that fits counts.
_CONVENTIONS = {'empty': {0}, '0/255': {0, 255}, '0/1': {0, 1}, 'classes': set(range(255))}


@dataclass
class _Pair:
    """An image and its mask: what could be read of them.

    ``digest`` is that of the image's bytes, ``values`` are those of the mask, ``share`` is the part
    of the mask that is object; sizes are height and width.
    """

    image: Path
    mask: Path
    digest: str = ''
    size: tuple[int, int] | None = None
    mask_size: tuple[int, int] | None = None
    values: set[int] = field(default_factory=set)
    share: float = 0.0

    @property
    def convention(self) -> str:
        """What the values of the mask look like."""
        fitting = (name for name, values in _CONVENTIONS.items() if self.values <= values)
        return next(fitting, 'classes and void')

    @property
    def doubt(self) -> str | None:
        """Why the meaning of the mask's values cannot be guessed."""
        return mask_doubt(self.values)


def _check_layout(root: Path, folders: list[Path], report: DataReport) -> None:
    """Whether the folders of images and masks belong together."""
    images, masks = root / 'images', root / 'masks'
    if not masks.is_dir() and not (root / 'instances.json').is_file():
        report.add('warning', masks, 'there are no masks: the set can be segmented, not scored')
    for entry in sorted(set(images.iterdir()) - set(folders)):
        report.add('warning', entry, 'lies beside the groups and is not used')
    if not folders:
        report.add('error', images, 'holds no group')
    for entry in visible_folders(masks):
        if not (images / entry.name).is_dir():
            report.add('error', entry, 'is a folder of masks without a folder of images')


def _read_group(
    folder: Path, mask_folder: Path, pool: ThreadPoolExecutor, report: DataReport
) -> list[_Pair]:
    """Look at the files of a group, and read its images with their masks."""
    images: dict[str, Path] = {}  # by their stems
    for file in sorted(folder.iterdir()):
        if file.is_symlink() and not file.exists():
            report.add('error', file, 'is a link to nothing, or to itself')
        elif not is_image_name(file) or not file.is_file():
            report.add('warning', file, 'is no image and not used')
        elif file.stem in images:
            report.add('error', file, f'has the stem of {images[file.stem]}: whose is the mask?')
        else:
            images[file.stem] = file
    if not images:
        report.add('error', folder, 'holds no image')
        return []
    if len(images) == 1:
        report.add('warning', folder, 'has one image: nothing is common to a group of one')
    pairs = [_Pair(image, mask_folder / f'{stem}.png') for stem, image in images.items()]
    for file in sorted(set(mask_folder.glob('*')).difference(pair.mask for pair in pairs)):
        report.add('error', file, 'is the mask of no image (masks are <stem>.png)')
    list(pool.map(partial(_read_pair, report=report), pairs))
    return pairs


def _read_pair(pair: _Pair, report: DataReport) -> None:
    """Read an image and its mask; threads may share the report."""
    with report.collect(pair.image):
        pair.digest = hashlib.sha256(pair.image.read_bytes()).hexdigest()
        pair.size = read_image(pair.image).shape[:2]
    if not pair.mask.is_file():
        return
    with report.collect(pair.mask):
        content = read_mask(pair.mask)
        pair.mask_size = content.shape
        pair.values = set(np.unique(content).tolist())
        objects = [255] if pair.convention == '0/255' else sorted(pair.values - {0, 255})
        pair.share = float(np.isin(content, objects).mean())


def _facts_of(pairs: list[_Pair]) -> GroupFacts:
    shares = [pair.share for pair in pairs if pair.mask_size]
    heights, widths = zip(*[pair.size for pair in pairs if pair.size] or [(0, 0)])
    facts = GroupFacts(
        images=len(pairs),
        masks=len(shares),
        without_object=shares.count(0),
        object_share=float(np.mean(shares or [0])),
        widths=(min(widths), max(widths)),
        heights=(min(heights), max(heights)),
    )
    counts = Counter()
    for pair in pairs:
        if not pair.doubt:
            counts.update(pair.values - {0, 255})
    if max(counts, default=0) > 1:
        facts.class_images = {value: counts[value] for value in range(1, max(counts) + 1)}
    return facts


def _check_pairs(root: Path, pairs: list[_Pair], report: DataReport) -> None:
    """Whether images have masks that fit them."""
    with_masks = (root / 'masks').is_dir()
    for pair in pairs:
        if with_masks and not pair.mask.is_file():
            report.add('error', pair.mask, f'is missing: {pair.image.name} has no mask')
        if pair.doubt:
            report.add('error', pair.mask, f'{pair.doubt}, in LoadCoSegMask')
        if None not in (pair.size, pair.mask_size) and pair.size != pair.mask_size:
            sizes = f'{pair.mask_size} (height, width), its image {pair.image.name} {pair.size}'
            report.add('error', pair.mask, f'is {sizes}')


def _check_copies(root: Path, pairs: list[_Pair], report: DataReport) -> None:
    """Whether two images have the same content."""
    by_digest: dict[str, list[Path]] = defaultdict(list)
    for pair in pairs:
        by_digest[pair.digest].append(pair.image)
    by_digest.pop('', None)  # images that cannot be read
    for first, *others in by_digest.values():
        if others:
            names = ', '.join(map(str, others))
            report.add('warning', first, f'has the same content as {names}')


def _check_conventions(root: Path, pairs: list[_Pair], report: DataReport) -> None:
    """Whether 255 means the same in all masks."""
    report.mask_values.update(pair.convention for pair in pairs if pair.mask_size)
    labels = sorted(set(report.mask_values) - {'empty', '0/255'})
    if labels and '0/255' in report.mask_values:
        kinds = f'has masks of 0/255 and masks of {", ".join(labels)}'
        cure = 'is 255 the object or void? Say it with values= in LoadCoSegMask'
        report.add('warning', root / 'masks', f'{kinds}: {cure}')


def _check_classes(root: Path, pairs: list[_Pair], report: DataReport) -> None:
    """Whether the values of masks that tell classes apart are those that have a name."""
    file = root / CLASSES_FILE
    listed: dict[str, tuple[str, ...]] = {}
    with report.collect(file):
        listed = read_class_names(file)
    for group in sorted(set(listed) - set(report.groups)):
        report.add('warning', file, f'names the classes of {group!r}, which is no group')
    for group, facts in report.groups.items():
        if not facts.class_images:
            continue
        folder, highest = root / 'masks' / group, max(facts.class_images)
        with report.collect(folder, 'tells classes apart, but ', 'warning'):
            names = listed.get(group) or classes_in_name(group)
            if highest > len(names):
                message = f'has mask values up to {highest}, but names of {len(names)}: '
                advice = f'rename the group to a+b, or name them in {CLASSES_FILE}'
                report.add('warning', folder, f'{message}{", ".join(names)}; {advice}')
            for value, name in enumerate(names, 1):
                if not facts.class_images.get(value):
                    report.add('warning', folder, f'has no mask with {value}, {name!r}')


@dataclass
class _ListedImage:
    """An image entry of ``instances.json``, and the sound masks and categories of its objects."""

    name: str
    group: str
    size: tuple[int, int]
    masks: list[dict] = field(default_factory=list)
    categories: set[str] = field(default_factory=set)

    @property
    def share(self) -> float:
        """The part of the image that is object."""
        return float(coco_mask.area(coco_mask.merge(self.masks))) / math.prod(self.size)


def _check_instances(file: Path, coco: CocoFile, pairs: list[_Pair], report: DataReport) -> None:
    """Look at every entry of ``instances.json``, beside the images of ``pairs``."""
    sizes = {pair.image: pair.size for pair in pairs}
    names: dict[tuple[str, str], str] = {}  # by group and stem
    listed: dict[object, _ListedImage] = {}
    for entry in coco.images:
        with report.collect(file, f'image {entry["id"]}: '):
            name = entry['file_name']
            group, path = split_file_name(entry, file)[0], file.parent / 'images' / name
            if (group, path.stem) in names:
                raise MMCosegError(f'{names[group, path.stem]} and {name} have one stem')
            names[group, path.stem] = name
            size = image_size(entry)
            listed[entry['id']] = _ListedImage(name, group, size)
            if not os.path.isfile(path):  # also where its name is too long
                report.add('error', path, f'is missing, but in {file.name}')
            if sizes.get(path) not in (None, size):
                sides = f'{sizes[path]} (height, width), in {file.name} {size}'
                report.add('error', path, f'is {sides}')
    _check_annotations(coco, listed, file, report)
    by_group: dict[str, list[_ListedImage]] = defaultdict(list)
    for image in listed.values():
        by_group[image.group].append(image)
    for group in sorted(by_group.keys() & report.groups.keys()):  # others lack all their images
        _check_instance_group(group, by_group[group], file, report)
    for path in sizes:
        if (path.parent.name, path.stem) not in names:
            report.add('warning', path, f'is not in {file.name} and not used')


def _check_annotations(
    coco: CocoFile, listed: dict[object, _ListedImage], file: Path, report: DataReport
) -> None:
    """Whether all annotations have masks that can be used, which cover some of the image."""
    ids = Counter(annotation['id'] for annotation in coco.annotations)
    for number, count in ids.items():
        if count > 1:
            report.add('warning', file, f'{count} annotations have the id {number!r}')
    # Nothing more is said of an image that is wrong already.
    for annotation in filter(lambda a: a['image_id'] in listed, coco.annotations):
        image = listed[annotation['image_id']]
        with report.collect(file, ''):
            if 'area' in annotation:
                area_of(annotation)
            rle = rle_of(annotation, image.size)
            name, shape = f'annotation {annotation["id"]}', annotation['segmentation']
            without_area = polygons_with_area(shape)[1] if isinstance(shape, list) else 0
            if without_area:
                parts = f'{without_area} of its {len(shape)} polygons'
                report.add('warning', file, f'{name}: {parts} have no area and count for nothing')
            if not coco_mask.area(rle):
                report.add('warning', file, f'{name} has no pixel')
            if not annotation.get('iscrowd'):
                image.masks.append(rle)
                image.categories.add(coco.names[annotation['category_id']])


def _check_instance_group(
    group: str, images: list[_ListedImage], file: Path, report: DataReport
) -> None:
    """Count the instances of a group; see whether its images share a category."""
    facts = report.groups[group]
    counts = [len(image.masks) for image in images]
    facts.instances = sum(counts)
    if not facts.masks:  # of a folder of masks
        facts.masks, facts.without_object = len(images), counts.count(0)
        facts.object_share = float(np.mean([image.share for image in images]))
    present: set[str] = set()
    for image in images:
        present |= image.categories
        if not image.masks:
            report.add('warning', file, f'{image.name} has no instance')
        elif len({mask['counts'] for mask in image.masks}) < len(image.masks):
            report.add('warning', file, f'{image.name} has the same instance twice')
    if len(common_categories(group, present)[0]) > 1:
        report.add('warning', file, f'the group {group!r} has instances of {sorted(present)}')


def format_report(report: DataReport, width: int = 120) -> str:
    """The report as text: a table of the groups, then the problems, errors first."""
    console = Console(width=width, file=StringIO(), highlight=False)
    console.print(_table_of(report))
    images = sum(facts.images for facts in report.groups.values())
    instances = sum(facts.instances for facts in report.groups.values())
    found = f'{len(report.groups)} groups, {images} images'
    lines = [f'{found}, {instances} instances' if instances else found]
    for convention, count in sorted(report.mask_values.items()):
        lines.append(f'{count} masks: {convention}')
    for problem in report.problems:
        lines.append(f'{problem.severity}: {problem.path} {problem.message}')
    warnings = len(report.problems) - len(report.errors)
    lines.append(f'{len(report.errors)} errors, {warnings} warnings')
    console.print('\n'.join(lines), markup=False, soft_wrap=True)
    return console.file.getvalue()


#: Columns that are left out where they say nothing.
_OPTIONAL = ('images of class 1, 2, ...', 'instances')


def _table_of(report: DataReport) -> Table:
    table = Table('group', title=report.root)
    rows = list(map(_row, report.groups.values()))
    columns = [report.groups]
    for title in _row(GroupFacts()):
        cells = [row[title] for row in rows]
        if title not in _OPTIONAL or not set(cells) <= {'-', '0'}:
            table.add_column(title, justify='right')
            columns.append(cells)
    for cells in zip(*columns):
        table.add_row(*cells)
    return table


def _row(facts: GroupFacts) -> dict[str, str]:
    """What the table says of a group, by the titles of its columns."""
    return {
        'images': str(facts.images),
        'images of class 1, 2, ...': ', '.join(map(str, facts.class_images.values())) or '-',
        'masks': str(facts.masks),
        'instances': str(facts.instances),
        'without object': str(facts.without_object),
        'object share': f'{100 * facts.object_share:.1f} %' if facts.masks else '-',
        'width': '{}-{}'.format(*facts.widths),
        'height': '{}-{}'.format(*facts.heights),
    }
