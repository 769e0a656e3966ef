"""DeepCO3's test sets, from their published layout or from the public originals, as one form.

Every reader gives the images of one source with their objects; :func:`select_images` applies the
paper's rules (section 4.1), :func:`write_instances` writes what ``InstanceCoSegDataset`` reads.
"""

import argparse
import json
import os
import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from rich.progress import track

from ..errors import MMCosegError
from ..structures.rle import encode_masks
from .base import image_files
from .coco_file import image_size, read_coco, rle_of
from .image_io import BadImageError, read_image, read_mask
from .instances import PublishedCounts

__all__ = [
    'COCO_VOC_CLASSES',
    'VOC_CLASSES',
    'SourceImage',
    'folder_with',
    'is_published_layout',
    'read_coco_images',
    'read_published',
    'read_soc',
    'read_voc',
    'run_instance_converter',
    'select_images',
    'write_instances',
]

#: The classes of PASCAL VOC, in the order of their numbers from 1.
VOC_CLASSES = (
    'aeroplane',
    'bicycle',
    'bird',
    'boat',
    'bottle',
    'bus',
    'car',
    'cat',
    'chair',
    'cow',
    'diningtable',
    'dog',
    'horse',
    'motorbike',
    'person',
    'pottedplant',
    'sheep',
    'sofa',
    'train',
    'tvmonitor',
)
#: Names of COCO for classes of VOC, where they differ.
_COCO_NAMES = dict(
    aeroplane='airplane',
    diningtable='dining table',
    motorbike='motorcycle',
    pottedplant='potted plant',
    sofa='couch',
    tvmonitor='tv',
)
#: The same classes as COCO calls them.
COCO_VOC_CLASSES = tuple(_COCO_NAMES.get(name, name) for name in VOC_CLASSES)

#: Colors of SOC's instances, in the order of the names in their text files.
_SOC_COLORS = (
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (255, 255, 0),
    (255, 0, 255),
    (0, 255, 255),
)
_INSTANCE_FILE = re.compile(r'^(?P<stem>.+)_InstID_?(?P<number>\d+)$')


@dataclass
class SourceImage:
    """An image of a source, with its objects; masks are made when it is known to be used.

    Attributes:
        file: the image.
        categories: of all its objects, crowds too, with repetition.
        num_instances: number of objects that are not crowds.
        load: gives RLEs of the instances and of crowds or other void.
        extras: published results for it: ``saliency_file``, ``proposals_file``.
    """

    file: Path
    categories: tuple[str, ...]
    num_instances: int
    load: Callable[[], tuple[list[dict], list[dict]]]
    extras: dict[str, Path] = field(default_factory=dict)


def is_published_layout(root: str | Path) -> bool:
    """Whether a folder is one of DeepCO3's published sets: ``Image/`` and ``Mask/``."""
    root = Path(root)
    return (root / 'Image').is_dir() and (root / 'Mask').is_dir()


def read_published(root: str | Path) -> Iterator[SourceImage]:
    """The images of a set as published with DeepCO3.

    ``Image/<class>/x.jpg``, ``Mask/<class>/x_InstID_*.png``, all of which is taken; and where they
    are, ``SalRes_ZhangICCV17/<class>/x.mat`` and ``MCG_fast/<class>/x.mat``.

    Raises:
        MMCosegError: naming images without a mask, and masks without an image.
    """
    root = Path(root)
    for folder in _folders(root / 'Image'):
        masks: dict[str, list[Path]] = defaultdict(list)
        for mask in sorted((root / 'Mask' / folder.name).glob('*.png')):
            match = _INSTANCE_FILE.match(mask.stem)
            if match is None:
                raise MMCosegError(f'{mask} is not called <image>_InstID_<number>.png')
            masks[match['stem']].append(mask)
        images = image_files(folder)
        without = [image.name for image in images if image.stem not in masks]
        orphans = sorted(set(masks) - {image.stem for image in images})
        if without or orphans:
            raise MMCosegError(
                f'{folder}: images without masks {without[:5]}, masks without images {orphans[:5]} '
                f'({len(without)} and {len(orphans)} in all)'
            )
        for image in images:
            files = masks[image.stem]
            extras = {
                kind: root / name / folder.name / f'{image.stem}.mat'
                for kind, name in (
                    ('saliency_file', 'SalRes_ZhangICCV17'),
                    ('proposals_file', 'MCG_fast'),
                )
            }
            yield SourceImage(
                image,
                (folder.name,) * len(files),
                len(files),
                lambda files=files: ([_one_mask(file) for file in files], []),
                {kind: file for kind, file in extras.items() if file.is_file()},
            )


def _one_mask(file: Path) -> dict:
    return encode_masks(read_mask(file)[None])[0]


def _folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith('.'))


def read_coco_images(
    root: str | Path, splits: Sequence[str] = ('train2017', 'val2017')
) -> Iterator[SourceImage]:
    """The images of COCO: ``annotations/instances_<split>.json`` and ``<split>/*.jpg``.

    Crowds count among an image's categories, not among its instances.

    Raises:
        FileNotFoundError: if neither split's annotations are there.
        MMCosegError: if annotations are not of COCO's form.
    """
    root = Path(root)
    files = {split: root / 'annotations' / f'instances_{split}.json' for split in splits}
    there = {split: file for split, file in files.items() if file.is_file()}
    if not there:
        raise FileNotFoundError(
            f'there is none of {", ".join(map(str, files.values()))}; give the folder that holds '
            "COCO's annotations/"
        )
    for split, file in there.items():
        coco = read_coco(file)
        annotations: dict[Any, list[dict]] = defaultdict(list)
        for annotation in coco.annotations:
            annotations[annotation['image_id']].append(annotation)
        for image in sorted(coco.images, key=lambda image: image['file_name']):
            own = annotations[image['id']]
            yield SourceImage(
                root / split / image['file_name'],
                tuple(coco.names[a['category_id']] for a in own),
                sum(not a.get('iscrowd') for a in own),
                lambda own=own, image=image, file=file: _coco_masks(own, image, file),
            )


def _coco_masks(annotations: list[dict], image: dict, file: Path) -> tuple[list[dict], list[dict]]:
    instances, crowds = [], []
    try:
        size = image_size(image)
        for annotation in annotations:
            masks = crowds if annotation.get('iscrowd') else instances
            masks.append(rle_of(annotation, size))
    except ValueError as error:
        raise MMCosegError(f'{file}: {image["file_name"]}: {error}') from error
    return instances, crowds


def read_voc(root: str | Path, sbd: str | Path | None = None) -> Iterator[SourceImage]:
    """The images of PASCAL VOC 2012 whose objects are segmented.

    ``JPEGImages``, ``SegmentationObject`` and ``SegmentationClass`` of the devkit's ``VOC2012``
    (found below ``root``); ``Annotations``, where it is there, tells objects that are not
    segmented. With SBD, the additional annotations of Hariharan et al. (``inst/*.mat``), for images
    that VOC itself does not segment. VOC's borders are void; SBD has none.

    Raises:
        FileNotFoundError: if the folders are not there.
        MMCosegError: naming a file whose objects have no class, or that is no mask.
    """
    voc = folder_with(Path(root), 'SegmentationObject', 'the folder that holds VOC2012')
    own = {file.stem: file for file in sorted((voc / 'SegmentationObject').glob('*.png'))}
    for stem, file in own.items():
        objects = read_mask(file)
        classes = _voc_classes(voc / 'SegmentationClass' / file.name, objects)
        categories = [*classes.values(), *_voc_annotated(voc / 'Annotations' / f'{stem}.xml')]
        yield SourceImage(
            voc / 'JPEGImages' / f'{stem}.jpg',
            tuple(categories),
            len(classes),
            lambda file=file: _label_masks(read_mask(file), void=255),
        )
    if sbd is None:
        return
    from scipy.io import loadmat

    folder = folder_with(Path(sbd), 'inst', "SBD's folder (benchmark_RELEASE/dataset)") / 'inst'
    for file in sorted(folder.glob('*.mat')):
        if file.stem in own:
            continue
        annotation = loadmat(file)['GTinst'][0, 0]
        numbers = np.atleast_1d(annotation['Categories'].squeeze()).tolist()
        categories = [VOC_CLASSES[int(number) - 1] for number in numbers]
        categories += _voc_annotated(voc / 'Annotations' / f'{file.stem}.xml')
        image = voc / 'JPEGImages' / f'{file.stem}.jpg'
        if not image.is_file():
            image = folder.parent / 'img' / f'{file.stem}.jpg'
        yield SourceImage(
            image,
            tuple(categories),
            len(numbers),
            # read again: ten thousand of them are too much to keep
            lambda file=file: _label_masks(loadmat(file)['GTinst'][0, 0]['Segmentation']),
        )


def folder_with(root: Path, name: str, what: str) -> Path:
    """The folder at or below ``root`` that holds a folder of this name.

    Raises:
        FileNotFoundError: if there is none, asking for ``what``.
    """
    if (root / name).is_dir():
        return root
    found = sorted(path.parent for path in root.rglob(name) if path.is_dir())
    if not found:
        raise FileNotFoundError(f'there is no folder {name} in {root}; give {what}')
    return found[0]


def _voc_classes(file: Path, objects: np.ndarray) -> dict[int, str]:
    """The class of each object's number: that of most of its pixels."""
    labels = read_mask(file)
    if labels.shape != objects.shape:
        raise BadImageError(
            f'{file} is {labels.shape}, SegmentationObject {objects.shape} (height, width)'
        )
    result = {}
    for number in sorted(set(np.unique(objects).tolist()) - {0, 255}):
        counts = Counter(labels[objects == number].tolist())
        label = max((v for v in counts if 0 < v <= 20), key=counts.get, default=None)
        if label is None:
            raise MMCosegError(
                f'{file}: object {number} of SegmentationObject has no class, its pixels have the '
                f'values {sorted(counts)[:5]}; classes are 1 to {len(VOC_CLASSES)}'
            )
        result[number] = VOC_CLASSES[label - 1]
    return result


def _voc_annotated(file: Path) -> list[str]:
    """Names of the annotated objects; none where there is no such file."""
    if not file.is_file():
        return []
    return [node.text.strip() for node in ElementTree.parse(file).getroot().iterfind('object/name')]


def _label_masks(labels: np.ndarray, void: int | None = None) -> tuple[list[dict], list[dict]]:
    numbers = [n for n in np.unique(labels).tolist() if n not in (0, void)]
    masks = encode_masks(np.array([labels == n for n in numbers]).reshape(-1, *labels.shape))
    border = labels == void if void is not None else np.zeros((0,))
    return masks, encode_masks(border[None]) if border.any() else []


def read_soc(root: str | Path) -> Iterator[SourceImage]:
    """The images of SOC with salient objects.

    ``<TrainSet|ValSet>/Imgs/x.jpg``, ``Instance gt/gt/x.png`` (a color an instance: red, green,
    blue, yellow, magenta, cyan; or their numbers from 1) and ``Instance gt/Instance name/x.txt``
    (a line an instance, in that order, ``1:person``). Capitals in folder names do not matter.

    Raises:
        FileNotFoundError: if there are no such folders.
        MMCosegError: naming a file that is not of this form.
    """
    root = Path(root)
    sets = sorted({path.parent for path in root.rglob('*') if _is_folder(path, 'instance gt')})
    if not sets:
        raise FileNotFoundError(
            f'there is no folder "Instance gt" in {root}; give the folder that holds TrainSet/ and '
            "ValSet/ of SOC's release"
        )
    for part in sets:
        images = {file.stem: file for file in image_files(_child(part, 'imgs'))}
        truth = _child(part, 'instance gt')
        names, masks = _child(truth, 'instance name'), image_files(_child(truth, 'gt'))
        mask_of = {file.stem: file for file in masks}
        for file in sorted(names.glob('*.txt')):
            lines = file.read_text(encoding='utf-8', errors='replace').splitlines()
            categories = [line.partition(':')[2].strip() for line in lines if line.strip()]
            if not categories:
                continue  # nothing salient
            if not all(categories):
                raise MMCosegError(f'{file}: a line is not of the form 1:person')
            if file.stem not in images or file.stem not in mask_of:
                raise MMCosegError(f'{file} has no image in Imgs or no mask in Instance gt/gt')
            mask = mask_of[file.stem]
            count = len(categories)
            yield SourceImage(
                images[file.stem],
                tuple(categories),
                count,
                lambda mask=mask, count=count: _soc_masks(mask, count),
            )


def _is_folder(path: Path, name: str) -> bool:
    return path.name.lower() == name and path.is_dir()


def _child(folder: Path, name: str) -> Path:
    for path in sorted(folder.iterdir()):
        if _is_folder(path, name):
            return path
    raise FileNotFoundError(f'there is no folder "{name}" in {folder}')


def _soc_masks(file: Path, count: int) -> tuple[list[dict], list[dict]]:
    image = Image.open(file)
    values = np.asarray(image)
    if image.mode not in ('P', 'L', '1') or values.max(initial=0) > len(_SOC_COLORS):
        rgb = np.asarray(image.convert('RGB'))
        values = np.zeros(rgb.shape[:2], np.uint8)
        for number, color in enumerate(_SOC_COLORS, 1):
            values[(rgb == color).all(axis=2)] = number
        if (rgb.any(axis=2) & (values == 0)).any():
            raise MMCosegError(f'{file} has colors that stand for no instance')
    masks = np.array([values == number for number in range(1, count + 1)])
    if values.max(initial=0) > count:
        raise MMCosegError(f'{file} shows more instances than the {count} that are named')
    return encode_masks(masks), []


def select_images(
    images: Iterable[SourceImage],
    *,
    min_images: int = 10,
    min_instances: int = 1,
    categories: Sequence[str] | None = None,
    exclude_categories: Sequence[str] = (),
) -> dict[str, list[SourceImage]]:
    """The paper's rules: images whose objects are all of one category, categories of enough images.

    Args:
        images: of a source.
        min_images: categories with fewer images are left out.
        min_instances: images with fewer instances are left out (2 for COCO).
        categories: take only these; None for all.
        exclude_categories: and not these.

    Returns:
        The images of each category, by name.

    Example:
        >>> one = SourceImage(Path('a.jpg'), ('cat', 'cat'), 2, lambda: ([], []))
        >>> two = SourceImage(Path('b.jpg'), ('cat', 'dog'), 2, lambda: ([], []))
        >>> list(select_images([one, two], min_images=1)['cat']) == [one]
        True
    """
    groups: dict[str, list[SourceImage]] = defaultdict(list)
    for image in images:
        present = set(image.categories)
        if len(present) == 1 and image.num_instances >= max(1, min_instances):
            groups[present.pop()].append(image)
    return {
        name: groups[name]
        for name in sorted(groups)
        if len(groups[name]) >= min_images
        and name not in exclude_categories
        and (categories is None or name in categories)
    }


def write_instances(
    target: str | Path, groups: dict[str, list[SourceImage]], progress: bool = True
) -> dict[str, tuple[int, int]]:
    """Write ``images/<category>/*`` and ``instances.json`` (COCO form, RLE) below ``target``.

    ``instances.json`` is written last, and whole: an interrupted conversion is simply repeated.
    Void is an annotation with ``iscrowd``. Instances without a pixel are left out. Published
    results are not copied; their paths from ``target`` are kept in the image entries.

    Returns:
        Number of images and of instances of each group.

    Raises:
        FileNotFoundError: naming an image that is not there.
        MMCosegError: naming an image whose masks have another size, or a category that cannot be the
            name of a folder.
    """
    for name in groups:
        if name in ('', '.', '..') or '/' in name or '\0' in name:
            raise MMCosegError(f'the category {name!r} cannot be the name of a folder; rename it')
    target = Path(target)
    target.mkdir(parents=True, exist_ok=True)
    images: list[dict] = []
    annotations: list[dict] = []
    counts = {}
    for category_id, (name, members) in enumerate(groups.items(), 1):
        (target / 'images' / name).mkdir(parents=True, exist_ok=True)
        found = 0
        for source in track(members, name, disable=not progress):
            height, width = _size_of(source.file)
            instances, voids = source.load()
            for rle in (*instances, *voids):
                if tuple(rle['size']) != (height, width):
                    raise BadImageError(
                        f'{source.file} is {height} x {width}, its mask {rle["size"][0]} x '
                        f'{rle["size"][1]} (height x width)'
                    )
            shutil.copyfile(source.file, target / 'images' / name / source.file.name)
            extras = {
                kind: Path(os.path.relpath(file.resolve(), target.resolve())).as_posix()
                for kind, file in source.extras.items()
            }
            images.append(
                dict(
                    id=len(images) + 1,
                    file_name=f'{name}/{source.file.name}',
                    width=width,
                    height=height,
                    **extras,
                )
            )
            instances = [rle for rle in instances if coco_mask.area(rle)]
            found += len(instances)
            for crowd, rle in [*((0, rle) for rle in instances), *((1, rle) for rle in voids)]:
                annotations.append(
                    dict(
                        id=len(annotations) + 1,
                        image_id=len(images),
                        category_id=category_id,
                        segmentation=dict(size=[height, width], counts=rle['counts'].decode()),
                        area=int(coco_mask.area(rle)),
                        bbox=[float(side) for side in coco_mask.toBbox(rle)],
                        iscrowd=crowd,
                    )
                )
        counts[name] = (len(members), found)
    categories = [dict(id=i, name=name, supercategory='') for i, name in enumerate(groups, 1)]
    content = dict(images=images, annotations=annotations, categories=categories)
    unfinished = target / 'instances.json.unfinished'
    unfinished.write_text(json.dumps(content), encoding='utf-8')
    os.replace(unfinished, target / 'instances.json')
    return counts


def _size_of(file: Path) -> tuple[int, int]:
    try:
        return read_image(file).shape[:2]
    except FileNotFoundError:
        raise FileNotFoundError(
            f'there is no image {file}, but it has annotations; add it, or remove these'
        ) from None


def run_instance_converter(
    description: str,
    read: Callable[[argparse.Namespace], Iterable[SourceImage]],
    published: PublishedCounts,
    argv: Sequence[str] | None = None,
    *,
    original: str,
    min_instances: int = 1,
    categories: Sequence[str] | None = None,
    exclude_categories: Sequence[str] = (),
    add_arguments: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
) -> int:
    """The command line of the converters; prints the counts beside the published ones.

    Args:
        description: of the program.
        read: gives the images of the original, from the arguments (``source`` and added ones).
        published: size of the set in the paper.
        argv: arguments; those of the process by default.
        original: what ``source`` is, where it is not the published layout.
        min_instances, categories, exclude_categories: see :func:`select_images`.
        add_arguments: adds arguments of the program's own.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        'source', help=f"a folder of DeepCO3's release with Image/ and Mask/, or {original}"
    )
    parser.add_argument('target', help='where images/ and instances.json are written')
    parser.add_argument(
        '--min-images',
        type=int,
        default=10,
        metavar='N',
        help='from the original: leave out categories of fewer images (default: 10)',
    )
    parser.add_argument(
        '--min-instances',
        type=int,
        default=min_instances,
        metavar='N',
        help='from the original: leave out images of fewer instances (default: '
        f'{min_instances}, as the paper says)',
    )
    add_arguments(parser)
    arguments = parser.parse_args(argv)
    try:
        if not Path(arguments.source).is_dir():
            raise FileNotFoundError(f'there is no folder {arguments.source} to convert')
        if is_published_layout(arguments.source):
            groups = select_images(read_published(arguments.source), min_images=1)
        else:
            groups = select_images(
                read(arguments),
                min_images=arguments.min_images,
                min_instances=arguments.min_instances,
                categories=categories,
                exclude_categories=exclude_categories,
            )
        if not groups:
            raise MMCosegError(
                f'{arguments.source}: no category has {arguments.min_images} images of its own'
            )
        counts = write_instances(arguments.target, groups)
    except (ValueError, OSError) as error:
        parser.exit(1, f'{parser.prog}: error: {error}\n')
    for name, (num_images, num_instances) in counts.items():
        print(f'{name:>16} {num_images:6d} images {num_instances:6d} instances')
    found = (len(counts), *(sum(column) for column in zip(*counts.values())))
    for what, count, expected in zip(('classes', 'images', 'instances'), found, published):
        note = 'as published' if count == expected else f'published: {expected}'
        print(f'{"total":>16} {count:6d} {what} ({note})')
    print(f'{"":>16} in {arguments.target}')
    return 0
