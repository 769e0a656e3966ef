"""Images with one mask for each object, from DeepCO3's release or from the public originals."""

import re
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...errors import MMCosegError, naming
from ...structures.rle import encode_masks
from ..base import image_files, visible_folders
from ..coco_file import image_size, read_coco, rle_of
from ..image_io import read_mask, require_one_size
from .common import VOC_CLASSES, folder_with

__all__ = [
    'SourceImage',
    'is_published_layout',
    'read_coco_images',
    'read_published',
    'read_soc',
    'read_voc',
]

#: Colors of SOC's instances, in the order of the names in their text files.
_SOC_COLORS = 255 * np.array(
    [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], np.uint8
)
_INSTANCE_FILE = re.compile(r'^(?P<stem>.+)_InstID_?(?P<number>\d+)$')
#: Folders of published results, by the key of their paths in image entries.
_RESULT_FOLDERS = dict(saliency_file='SalRes_ZhangICCV17', proposals_file='MCG_fast')
#: Background and borders in VOC's masks of objects.
_NO_OBJECT = (0, 255)
_COCO_SPLITS = ('train2017', 'val2017')

#: RLEs of the instances of an image, and of crowds or other void.
Masks = tuple[list[dict], list[dict]]


@dataclass
class SourceImage:
    """An image of a source, with its objects; masks are made once the image is known to be used.

    Attributes:
        categories: of all its objects, crowds too, with repetition.
        num_instances: number of objects that are not crowds.
        load: gives RLEs of the instances and of crowds or other void.
        extras: published results for it: ``saliency_file``, ``proposals_file``.
    """

    file: Path
    categories: tuple[str, ...]
    num_instances: int
    load: Callable[[], Masks]
    extras: dict[str, Path] = field(default_factory=dict)


def is_published_layout(root: str | Path) -> bool:
    """Whether a folder is one of DeepCO3's published sets: ``Image/`` and ``Mask/``."""
    root = Path(root)
    return (root / 'Image').is_dir() and (root / 'Mask').is_dir()


def read_published(root: str | Path) -> Iterator[SourceImage]:
    """The images of a set as published with DeepCO3.

    Takes all of ``Image/<class>/x.jpg`` and ``Mask/<class>/x_InstID_*.png``, and
    ``SalRes_ZhangICCV17/<class>/x.mat`` and ``MCG_fast/<class>/x.mat`` where they are.
    """
    root = Path(root)
    for folder in visible_folders(root / 'Image'):
        masks = _published_masks(root / 'Mask' / folder.name)
        images = _by_stem(folder)
        without = sorted(images.keys() - masks.keys())
        orphans = sorted(masks.keys() - images.keys())
        if [*without, *orphans]:
            raise MMCosegError(
                f'{folder}: images without masks {without[:5]}, masks without images {orphans[:5]} '
                f'({len(without)} and {len(orphans)} in all)'
            )
        for stem, image in images.items():
            files = masks[stem]
            name = f'{folder.name}/{stem}.mat'
            results = {kind: root / where / name for kind, where in _RESULT_FOLDERS.items()}
            extras = {kind: file for kind, file in results.items() if file.is_file()}
            categories = (folder.name,) * len(files)
            yield SourceImage(image, categories, len(files), partial(_one_a_file, files), extras)


def _published_masks(folder: Path) -> dict[str, list[Path]]:
    """The files of masks by the stem of their image."""
    masks: dict[str, list[Path]] = defaultdict(list)
    for mask in sorted(folder.glob('*.png')):
        match = _INSTANCE_FILE.match(mask.stem)
        if match is None:
            raise MMCosegError(f'{mask} is not called <image>_InstID_<number>.png')
        masks[match['stem']].append(mask)
    return masks


def _one_a_file(files: list[Path]) -> Masks:
    return [encode_masks(read_mask(file)[None])[0] for file in files], []


def read_coco_images(root: str | Path) -> Iterator[SourceImage]:
    """The images of COCO: ``annotations/instances_<split>.json`` and ``<split>/*.jpg``.

    Crowds count among an image's categories, not among its instances.
    """
    root = Path(root)
    files = [root / 'annotations' / f'instances_{split}.json' for split in _COCO_SPLITS]
    present = list(filter(Path.is_file, files))
    if not present:
        names = ', '.join(map(str, files))
        raise FileNotFoundError(f"there is none of {names}; give COCO's folder, with annotations/")
    for file in present:
        images = root / file.stem.removeprefix('instances_')
        coco = read_coco(file)
        annotations = coco.annotations_by_image()
        for image in sorted(coco.images, key=lambda image: image['file_name']):
            own = annotations[image['id']]
            yield SourceImage(
                images / image['file_name'],
                tuple(coco.names[a['category_id']] for a in own),
                sum(not a.get('iscrowd') for a in own),
                partial(_coco_masks, own, image, file),
            )


def _coco_masks(annotations: list[dict], image: dict, file: Path) -> Masks:
    instances, crowds = [], []
    with naming(f'{file}: {image["file_name"]}'):
        size = image_size(image)
        for annotation in annotations:
            masks = crowds if annotation.get('iscrowd') else instances
            masks.append(rle_of(annotation, size))
    return instances, crowds


def read_voc(root: str | Path, sbd: str | Path | None = None) -> Iterator[SourceImage]:
    """The images of PASCAL VOC 2012 that have segmented objects.

    Reads ``JPEGImages``, ``SegmentationObject`` and ``SegmentationClass`` of the devkit's
    ``VOC2012`` (found below ``root``); ``Annotations``, where it is there, tells objects that are
    not segmented. VOC's borders are void.

    Args:
        root: of VOC.
        sbd: the additional annotations of Hariharan et al. (``inst/*.mat``), for images that VOC
            itself does not segment. They have no borders.
    """
    voc = folder_with(Path(root), 'SegmentationObject', 'the folder that holds VOC2012')
    own = {file.stem: file for file in sorted((voc / 'SegmentationObject').glob('*.png'))}
    for stem, file in own.items():
        classes = _voc_classes(voc / 'SegmentationClass' / file.name, read_mask(file))
        yield SourceImage(
            voc / 'JPEGImages' / f'{stem}.jpg',
            (*classes, *_voc_annotated(voc, stem)),
            len(classes),
            partial(_voc_masks, file),
        )
    if sbd is None:
        return
    folder = folder_with(Path(sbd), 'inst', "SBD's folder (benchmark_RELEASE/dataset)")
    for file in sorted((folder / 'inst').glob('*.mat')):
        if file.stem in own:
            continue
        numbers = np.atleast_1d(_sbd_annotation(file)['Categories'].squeeze())
        classes = [VOC_CLASSES[int(number) - 1] for number in numbers]
        image = voc / 'JPEGImages' / f'{file.stem}.jpg'
        if not image.is_file():
            image = folder / 'img' / image.name
        yield SourceImage(
            image,
            (*classes, *_voc_annotated(voc, file.stem)),
            len(classes),
            partial(_sbd_masks, file),
        )


def _voc_classes(file: Path, objects: np.ndarray) -> list[str]:
    """The class of each object, in the order of their numbers: that of most of its pixels."""
    labels = read_mask(file)
    require_one_size(file, labels.shape, 'that of SegmentationObject', objects.shape)
    classes = []
    for number in np.setdiff1d(objects, _NO_OBJECT):
        counts = np.bincount(labels[objects == number], minlength=256)
        pixels_of_classes = counts[1 : 1 + len(VOC_CLASSES)]
        if not pixels_of_classes.any():
            raise MMCosegError(
                f'{file}: object {number} of SegmentationObject has no class, its pixels have the '
                f'values {np.flatnonzero(counts)[:5].tolist()}; classes are 1 to {len(VOC_CLASSES)}'
            )
        classes.append(VOC_CLASSES[pixels_of_classes.argmax()])
    return classes


def _voc_annotated(voc: Path, stem: str) -> list[str]:
    """Names of the annotated objects; none where there is no such file."""
    file = voc / 'Annotations' / f'{stem}.xml'
    if not file.is_file():
        return []
    return [node.text.strip() for node in ElementTree.parse(file).getroot().iterfind('object/name')]


def _voc_masks(file: Path) -> Masks:
    objects = read_mask(file)
    numbers, border = np.setdiff1d(objects, _NO_OBJECT), np.intersect1d(objects, [255])
    return _masks_of(objects, numbers), _masks_of(objects, border)


def _sbd_annotation(file: Path) -> Any:
    from scipy.io import loadmat

    return loadmat(file)['GTinst'][0, 0]


def _sbd_masks(file: Path) -> Masks:
    objects = _sbd_annotation(file)['Segmentation']
    return _masks_of(objects, np.setdiff1d(objects, [0])), []


def _masks_of(objects: np.ndarray, numbers: Sequence[int]) -> list[dict]:
    return encode_masks(objects == np.reshape(numbers, (-1, 1, 1)))


def read_soc(root: str | Path) -> Iterator[SourceImage]:
    """The images of SOC with salient objects.

    Reads ``<TrainSet|ValSet>/Imgs/x.jpg``, ``Instance gt/gt/x.png`` (a color for each instance:
    red, green, blue, yellow, magenta, cyan; or their numbers from 1) and ``Instance gt/Instance
    name/x.txt`` (a line for each instance, in that order, ``1:person``). The case of folder names
    does not matter.
    """
    root = Path(root)
    sets = sorted({path.parent for path in root.rglob('*') if path.name.lower() == 'instance gt'})
    if not sets:
        raise FileNotFoundError(
            f'there is no folder "Instance gt" in {root}; give the folder that holds TrainSet/ and '
            "ValSet/ of SOC's release"
        )
    for part in sets:
        truth = _child(part, 'instance gt')
        images = _by_stem(_child(part, 'imgs'))
        masks = _by_stem(_child(truth, 'gt'))
        for file in sorted(_child(truth, 'instance name').glob('*.txt')):
            categories = _soc_categories(file)
            if not categories:
                continue  # nothing salient
            if file.stem not in images.keys() & masks.keys():
                raise MMCosegError(f'{file} has no image in Imgs or no mask in Instance gt/gt')
            load = partial(_soc_masks, masks[file.stem], len(categories))
            yield SourceImage(images[file.stem], categories, len(categories), load)


def _child(folder: Path, name: str) -> Path:
    folders = {path.name.lower(): path for path in visible_folders(folder)}
    if name not in folders:
        raise FileNotFoundError(f'there is no folder "{name}" in {folder}')
    return folders[name]


def _by_stem(folder: Path) -> dict[str, Path]:
    return {file.stem: file for file in image_files(folder)}


def _soc_categories(file: Path) -> tuple[str, ...]:
    lines = file.read_text(encoding='utf-8', errors='replace').splitlines()
    categories = tuple(line.partition(':')[2].strip() for line in lines if line.strip())
    if not all(categories):
        raise MMCosegError(f'{file}: a line is not of the form 1:person')
    return categories


def _soc_masks(file: Path, count: int) -> Masks:
    image = Image.open(file)
    values = np.asarray(image)
    if image.mode not in ('P', 'L', '1') or values.max(initial=0) > len(_SOC_COLORS):
        rgb = np.asarray(image.convert('RGB'))
        values = np.zeros(rgb.shape[:2], np.uint8)
        for number, color in enumerate(_SOC_COLORS, 1):
            values[(rgb == color).all(axis=2)] = number
        if (rgb.any(axis=2) & (values == 0)).any():
            raise MMCosegError(f'{file} has colors that stand for no instance')
    if values.max(initial=0) > count:
        raise MMCosegError(f'{file} shows more instances than the {count} that are named')
    return _masks_of(values, range(1, count + 1)), []
