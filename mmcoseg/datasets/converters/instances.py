"""DeepCO3's test sets, from their published layout or from the public originals.

The readers of ``sources`` give the images of one source with their objects; :func:`select_images`
applies the paper's rules (section 4.1), :func:`write_instances` writes what
``InstanceCoSegDataset`` reads.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pycocotools import mask as coco_mask
from rich.progress import track

from ...errors import MMCosegError
from ...files import copy_file, file_name_of, relative_path, write_json
from ..image_io import read_image, require_one_size
from ..instances import PublishedCounts
from .common import converter_parser, run_command
from .sources import SourceImage, is_published_layout, read_published

__all__ = ['run_instance_converter', 'select_images', 'write_instances']


def select_images(
    images: Iterable[SourceImage],
    *,
    min_images: int = 10,
    min_instances: int = 1,
    categories: Sequence[str] | None = None,
    exclude_categories: Sequence[str] = (),
) -> dict[str, list[SourceImage]]:
    """The paper's rules: images with objects of one category only, categories of enough images.

    Images with fewer than ``min_instances`` instances and categories with fewer than ``min_images``
    images are left out; only ``categories`` are taken (None for all), without
    ``exclude_categories``.

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
        if len(set(image.categories)) == 1 and image.num_instances >= max(1, min_instances):
            groups[image.categories[0]].append(image)
    wanted = set(groups if categories is None else categories).difference(exclude_categories)
    large = {name for name, members in groups.items() if len(members) >= min_images}
    return {name: groups[name] for name in sorted(large & wanted)}


def write_instances(
    target: str | Path, groups: dict[str, list[SourceImage]]
) -> dict[str, tuple[int, int]]:
    """Write ``images/<category>/*`` and ``instances.json`` (COCO form, RLE) below ``target``.

    ``instances.json`` is written last, and whole: to continue an interrupted conversion, repeat it.
    Void is an annotation with ``iscrowd``. Instances without a pixel are left out. Published
    results are not copied; their paths from ``target`` are kept in the image entries.

    Returns:
        Number of images and of instances of each group.
    """
    for name in groups:
        if file_name_of(name) != name:
            raise MMCosegError(f'the category {name!r} cannot be the name of a folder; rename it')
    target = Path(target)
    categories, images, annotations, counts = [], [], [], {}
    for name, members in groups.items():
        categories.append(dict(id=len(categories) + 1, name=name, supercategory=''))
        found = 0
        for source in track(members, name):
            if not source.file.is_file():
                raise FileNotFoundError(
                    f'there is no image {source.file}, but it has annotations; add it, or remove '
                    'these'
                )
            height, width = read_image(source.file).shape[:2]
            instances, voids = _masks_of(source, (height, width))
            file_name = f'{name}/{source.file.name}'
            copy_file(source.file, target / 'images' / file_name)
            image = dict(id=len(images) + 1, file_name=file_name, width=width, height=height)
            for kind, file in source.extras.items():
                image[kind] = relative_path(file, target)
            images.append(image)
            found += len(instances)
            for number, rle in enumerate([*instances, *voids]):
                entry = dict(
                    id=len(annotations) + 1,
                    image_id=image['id'],
                    category_id=len(categories),
                    iscrowd=int(number >= len(instances)),
                    segmentation=dict(size=list(rle['size']), counts=rle['counts'].decode()),
                    area=int(coco_mask.area(rle)),
                    bbox=coco_mask.toBbox(rle).tolist(),
                )
                annotations.append(entry)
        counts[name] = (len(members), found)
    content = dict(images=images, annotations=annotations, categories=categories)
    write_json(target / 'instances.json', content)
    return counts


def _masks_of(source: SourceImage, size: tuple[int, int]) -> tuple[list[dict], list[dict]]:
    """RLEs of the instances that have pixels, and of void; all are of the image's size."""
    instances, voids = source.load()
    for rle in (*instances, *voids):
        require_one_size(source.file, size, 'its mask', rle['size'])
    return [rle for rle in instances if coco_mask.area(rle)], voids


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

    ``read`` gives the images of the original, from the arguments; ``original`` says what ``source``
    is, where it is not the published layout; for the others see :func:`select_images`.
    """
    parser = converter_parser(
        description,
        f"a folder of DeepCO3's release with Image/ and Mask/, or {original}",
        'where images/ and instances.json are written',
    )
    for name, what, default in (
        ('images', 'categories', 10),
        ('instances', 'images', min_instances),
    ):
        help = f'from the original: leave out {what} of fewer {name} (default: {default})'
        parser.add_argument(f'--min-{name}', type=int, default=default, metavar='N', help=help)
    add_arguments(parser)
    arguments = parser.parse_args(argv)

    def work(arguments: argparse.Namespace) -> None:
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
        _print(write_instances(arguments.target, groups), published, arguments.target)

    return run_command(parser, arguments, work)


def _print(counts: dict[str, tuple[int, int]], published: PublishedCounts, target: str) -> None:
    for name, (num_images, num_instances) in counts.items():
        print(f'{name:>16} {num_images:6d} images {num_instances:6d} instances')
    found = (len(counts), *map(sum, zip(*counts.values())))
    for what, count, expected in zip(PublishedCounts._fields, found, published):
        note = 'as published' if count == expected else f'published: {expected}'
        print(f'{"total":>16} {count:6d} {what} ({note})')
    print(f'{"":>16} in {target}')
