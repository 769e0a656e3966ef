"""What a data set on disk holds, and everything that is wrong with it."""

import hashlib
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ..errors import MMCosegError
from ..structures.rle import polygons_with_area
from .base import CoSegDataset
from .coco_file import CocoFile, area_of, image_size, read_coco, rle_of
from .image_io import IMAGE_SUFFIXES, read_image, read_mask
from .instances import split_file_name
from .multiclass import CLASSES_FILE, classes_in_name, read_class_names
from .transforms.loading import mask_doubt

__all__ = ['DataReport', 'Problem', 'check_data', 'format_report']


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong: ``severity`` is ``'error'`` or ``'warning'``."""

    severity: str
    path: str
    message: str


@dataclass
class GroupFacts:
    """What a group holds; shares are means over its masks.

    ``class_images`` says, where the masks tell classes apart, how many of them have each value.
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


def check_data(root: str | Path, num_workers: int = 4, progress: bool = True) -> DataReport:
    """Look at every file of a data set in the canonical layout.

    Nothing stops the check: everything that is wrong is collected.

    Args:
        root: folder with ``images/``, and ``masks/`` or ``instances.json``.
        num_workers: threads that read.
        progress: show a progress bar.

    Raises:
        FileNotFoundError: if there is no folder ``images`` below ``root``.
    """
    root = Path(root)
    image_root, mask_root = root / 'images', root / 'masks'
    if not image_root.is_dir():
        raise FileNotFoundError(f'there is no folder {image_root}. {CoSegDataset.HINT}.')
    report = DataReport(str(root))
    say = _Collector(report)
    listed = root / 'instances.json'
    if not mask_root.is_dir() and not listed.is_file():
        say('warning', mask_root, 'there are no masks: the set can be segmented, not scored')
    digests: dict[str, list[Path]] = defaultdict(list)
    sizes: dict[Path, tuple[int, int]] = {}
    folders = []
    for entry in sorted(image_root.iterdir()):
        if entry.is_dir() and not entry.name.startswith('.'):
            folders.append(entry)
        else:
            say('warning', entry, 'lies beside the groups and is not used')
    if not folders:
        say('error', image_root, 'holds no group')
    with ThreadPoolExecutor(num_workers) as pool:
        for folder in track(folders, 'checking', disable=not progress):
            sizes |= _check_group(folder, mask_root, report, say, digests, pool)
    _check_classes(root, report, say)
    if listed.is_file():
        _check_instances(listed, image_root, sizes, report, say)
    for files in digests.values():
        if len(files) > 1:
            others = ', '.join(str(file) for file in files[1:])
            say('warning', files[0], f'has the same content as {others}')
    for entry in sorted(mask_root.iterdir()) if mask_root.is_dir() else ():
        if entry.is_dir() and not (image_root / entry.name).is_dir():
            say('error', entry, 'is a folder of masks without a folder of images')
    labels = sorted(set(report.mask_values) - {'empty', '0/255'})
    if labels and '0/255' in report.mask_values:
        say(
            'warning',
            mask_root,
            f'has masks of 0/255 and masks of {", ".join(labels)}: is 255 the object or void? Say '
            'it with values= in LoadCoSegMask',
        )
    report.problems.sort()
    return report


class _Collector:
    """Takes down what is wrong."""

    def __init__(self, report: DataReport) -> None:
        self.report = report

    def __call__(self, severity: str, path: Path, message: str) -> None:
        self.report.problems.append(Problem(severity, str(path), message))


def _check_group(
    folder: Path,
    mask_root: Path,
    report: DataReport,
    say: _Collector,
    digests: dict[str, list[Path]],
    pool: ThreadPoolExecutor,
) -> dict[Path, tuple[int, int]]:
    """Look at a group; the sizes (height, width) of its images that can be read."""
    images: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.is_symlink() and not file.exists():
            say('error', file, 'is a link to nothing, or to itself')
        elif file.suffix.lower() not in IMAGE_SUFFIXES or file.name.startswith('.'):
            say('warning', file, 'is no image and not used')
        elif not file.is_file():
            say('warning', file, 'is no file and not used')
        elif file.stem in images:
            say('error', file, f'has the stem of {images[file.stem]}: whose is the mask?')
        else:
            images[file.stem] = file
    mask_folder = mask_root / folder.name
    facts = report.groups[folder.name] = GroupFacts(images=len(images))
    if not images:
        say('error', folder, 'holds no image')
        return {}
    if len(images) == 1:
        say('warning', folder, 'has one image: nothing is common to a group of one')
    expected = {f'{stem}.png' for stem in images}
    for file in sorted(mask_folder.iterdir()) if mask_folder.is_dir() else ():
        if file.name not in expected:
            say('error', file, 'is the mask of no image (masks are <stem>.png)')

    masks = [mask_folder / f'{stem}.png' for stem in images]
    shares: list[float] = []
    sizes: dict[Path, tuple[int, int]] = {}
    counts: Counter[int] = Counter()
    for file, mask, result in zip(
        images.values(), masks, pool.map(_read_pair, images.values(), masks)
    ):
        digest, size, values, problems = result
        for severity, path, message in problems:
            say(severity, path, message)
        if digest:
            digests[digest].append(file)
        if size:
            sizes[file] = size
        if values is not None:
            facts.masks += 1
            convention, share, classes = values
            counts.update(classes)
            report.mask_values[convention] += 1
            facts.without_object += share == 0
            shares.append(share)
        elif mask_root.is_dir() and not mask.is_file():
            say('error', mask, f'is missing: {file.name} has no mask')
    if sizes:
        heights, widths = zip(*sizes.values())
        facts.heights, facts.widths = (min(heights), max(heights)), (min(widths), max(widths))
    facts.object_share = float(np.mean(shares)) if shares else 0.0
    if max(counts, default=0) > 1:
        facts.class_images = {value: counts[value] for value in range(1, max(counts) + 1)}
    return sizes


def _check_classes(root: Path, report: DataReport, say: _Collector) -> None:
    """Whether the values of masks that tell classes apart are those that have a name."""
    file = root / CLASSES_FILE
    try:
        listed = read_class_names(file)
    except (ValueError, TypeError, OSError) as error:
        say('error', file, f'cannot be used: {error}')
        listed = {}
    for group in sorted(set(listed) - set(report.groups)):
        say('warning', file, f'names the classes of {group!r}, which is no group')
    for group, facts in report.groups.items():
        if not facts.class_images:
            continue
        folder = root / 'masks' / group
        try:
            names = listed.get(group) or classes_in_name(group)
        except ValueError as error:
            say('warning', folder, f'tells classes apart, but {error}')
            continue
        highest = max(facts.class_images)
        if highest > len(names):
            message = f'has mask values up to {highest}, but names of {len(names)}: '
            advice = f'rename the group to a+b, or name them in {CLASSES_FILE}'
            say('warning', folder, f'{message}{", ".join(names)}; {advice}')
        for value, name in enumerate(names, 1):
            if not facts.class_images.get(value):
                say('warning', folder, f'has no mask with {value}, {name!r}')


def _check_instances(
    file: Path,
    image_root: Path,
    sizes: dict[Path, tuple[int, int]],
    report: DataReport,
    say: _Collector,
) -> None:
    """Look at every entry of ``instances.json``; see ``InstanceCoSegDataset`` for its form."""
    try:
        coco = read_coco(file, report=lambda severity, message: say(severity, file, message))
    except (ValueError, OSError) as error:
        say('error', file, f'cannot be used: {error}')
        return
    facts_of = report.groups
    entries: dict[object, dict] = {}
    seen: dict[tuple[str, str], str] = {}
    for image in coco.images:
        try:
            group, name = split_file_name(image, file)
            identity = (group, Path(name).stem)
            if identity in seen:
                raise MMCosegError(f'{seen[identity]} and {image["file_name"]} have one stem')
            seen[identity] = image['file_name']
            path = image_root / group / name
            if not _is_there(path):
                say('error', path, f'is missing, but in {file.name}')
            size = image_size(image)
            entries[image['id']] = dict(image, size=size, group=group, masks=[], categories=set())
            if sizes.get(path, size) != size:
                say('error', path, f'is {sizes[path]} (height, width), in {file.name} {size}')
        except ValueError as error:
            say('error', file, f'image {image["id"]}: {error}')
    ids = Counter(annotation['id'] for annotation in coco.annotations)
    for number, count in ids.items():
        if count > 1:
            say('warning', file, f'{count} annotations have the id {number!r}')
    for annotation in coco.annotations:
        entry = entries.get(annotation['image_id'])
        if entry is not None:  # else its image is wrong already
            _check_annotation(annotation, entry, coco, file, say)
    by_group: dict[str, list[dict]] = defaultdict(list)
    for entry in entries.values():
        by_group[entry['group']].append(entry)
    for group, members in sorted(by_group.items()):
        if group not in facts_of:
            continue  # all its images were missing
        facts = facts_of[group]
        shares = [share for share, _ in (_object_share(entry) for entry in members)]
        facts.instances = sum(len(entry['masks']) for entry in members)
        if not facts.masks:  # of a folder of masks
            facts.masks = len(members)
            facts.without_object = sum(not entry['masks'] for entry in members)
            facts.object_share = float(np.mean(shares))
        present = sorted(set().union(*(entry['categories'] for entry in members)))
        if len(present) > 1 and group not in present:
            say('warning', file, f'the group {group!r} has instances of {present}')
        for entry in members:
            if not entry['masks']:
                say('warning', file, f'{entry["file_name"]} has no instance')
            elif _object_share(entry)[1]:
                say('warning', file, f'{entry["file_name"]} has the same instance twice')
    for group in sorted(facts_of):
        listed = {stem for name, stem in seen if name == group}
        for path in sorted((image_root / group).iterdir()):
            usable = path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith('.')
            if usable and path.stem not in listed:
                say('warning', path, f'is not in {file.name} and not used')


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # the name is too long
        return False


def _check_annotation(
    annotation: dict, entry: dict, coco: CocoFile, file: Path, say: _Collector
) -> None:
    try:
        if 'area' in annotation:
            area_of(annotation)
        rle = rle_of(annotation, entry['size'])
    except ValueError as error:
        say('error', file, str(error))
        return
    name = f'annotation {annotation["id"]}'
    if isinstance(annotation['segmentation'], list):
        polygons, without_area = polygons_with_area(annotation['segmentation'])
        if without_area:
            parts = f'{without_area} of its {without_area + len(polygons)} polygons'
            say('warning', file, f'{name}: {parts} have no area and count for nothing')
    if not coco_mask.area(rle):
        say('warning', file, f'{name} has no pixel')
    if not annotation.get('iscrowd'):
        entry['masks'].append(rle)
        entry['categories'].add(coco.names[annotation['category_id']])


def _object_share(entry: dict) -> tuple[float, bool]:
    """Share of the image that is object, and whether two of its masks are the same."""
    masks = entry['masks']
    if not masks:
        return 0.0, False
    area = float(coco_mask.area(coco_mask.merge(masks)))
    same = len({mask['counts'] for mask in masks}) < len(masks)
    height, width = entry['size']
    return area / (height * width), same


def _read_pair(file: Path, mask: Path):
    """Digest and size of an image; of its mask convention, object share and classes; problems."""
    problems: list[tuple[str, Path, str]] = []
    digest = size = values = None
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        size = read_image(file).shape[:2]
    except (ValueError, OSError) as error:
        problems.append(('error', file, f'cannot be used: {error}'))
    if mask.is_file():
        try:
            content = read_mask(mask)
        except (ValueError, OSError) as error:
            problems.append(('error', mask, f'cannot be used: {error}'))
        else:
            present = set(np.unique(content).tolist())
            convention, objects = _convention(present), present - {0, 255}
            object_values = [255] if convention == '0/255' else sorted(objects)
            share = float(np.isin(content, object_values).mean())
            doubt = mask_doubt(present)
            values = convention, share, set() if doubt else objects
            if doubt:
                problems.append(('error', mask, f'{doubt}, in LoadCoSegMask'))
            if size and content.shape != size:
                message = f'is {content.shape} (height, width), its image {file.name} {size}'
                problems.append(('error', mask, message))
    return digest, size, values, problems


def _convention(present: set[int]) -> str:
    if present <= {0}:
        return 'empty'
    if present <= {0, 255}:
        return '0/255'
    if present <= {0, 1}:
        return '0/1'
    return 'classes' + (' and void' if 255 in present else '')


def format_report(report: DataReport, width: int = 120) -> str:
    """The report as text: a table of the groups, then the problems, errors first."""
    table = Table(title=report.root)
    with_instances = any(facts.instances for facts in report.groups.values())
    with_classes = any(facts.class_images for facts in report.groups.values())
    optional = {'instances': with_instances, 'images of class 1, 2, ...': with_classes}
    for name in (
        *('group', 'images', 'images of class 1, 2, ...', 'masks', 'instances'),
        *('without object', 'object share', 'width', 'height'),
    ):
        if optional.get(name, True):
            table.add_column(name, justify='left' if name == 'group' else 'right')
    for name, facts in report.groups.items():
        table.add_row(
            name,
            str(facts.images),
            *([', '.join(map(str, facts.class_images.values())) or '-'] if with_classes else []),
            str(facts.masks),
            *([str(facts.instances)] if with_instances else []),
            str(facts.without_object),
            f'{100 * facts.object_share:.1f} %' if facts.masks else '-',
            '{}-{}'.format(*facts.widths),
            '{}-{}'.format(*facts.heights),
        )
    console = Console(width=width, file=StringIO(), highlight=False)
    console.print(table)
    images = sum(facts.images for facts in report.groups.values())
    instances = sum(facts.instances for facts in report.groups.values())
    console.print(
        f'{len(report.groups)} groups, {images} images'
        + (f', {instances} instances' if with_instances else ''),
        markup=False,
    )
    for convention, count in sorted(report.mask_values.items()):
        console.print(f'{count} masks: {convention}', markup=False)
    for problem in report.problems:
        console.print(
            f'{problem.severity}: {problem.path} {problem.message}', markup=False, soft_wrap=True
        )
    warnings = len(report.problems) - len(report.errors)
    console.print(f'{len(report.errors)} errors, {warnings} warnings', markup=False)
    return console.file.getvalue()
