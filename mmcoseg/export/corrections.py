"""Corrected masks that come back from elsewhere, as hints."""

from pathlib import Path, PurePosixPath
from typing import Any

from ..datasets.coco_file import CocoFile, image_size, parse_coco, read_json, rle_of
from ..datasets.hint_files import GivenHints, read_examples
from ..errors import MMCosegError, naming
from ..structures.rle import decode_rles
from .cvat import coco_files_in
from .label_masks import LabelMasks
from .label_studio import read_label_studio
from .labelme import labelme_files, read_labelme

__all__ = ['read_corrections']


#: What `mmcoseg export --out DIR` writes to a folder, and is corrected by other programs.
_EXPORTED = ('labelme-masks', 'labelme', 'cvat.zip', 'label-studio.json', 'annotations.json')


def read_corrections(path: str | Path) -> GivenHints:
    """The masks that a person corrected in another program; docs/formats.md names the forms.

    Args:
        path: a folder of masks, of results, of labelme's files, or of an export; a file of COCO
            instances; an archive of CVAT; or a JSON export of Label Studio.

    Returns:
        A whole mask or, where an image is listed without objects, an absence for each image.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        MMCosegError: naming the file and what is wrong in it.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return _read_folder(path)
    if path.suffix.lower() == '.zip':
        return _read_coco(coco_files_in(path), path)
    content = read_json(path)
    if isinstance(content, dict) and {'images', 'annotations'} <= set(content):
        return _read_coco({path.name: content}, path)
    if isinstance(content, list):
        with naming(str(path)):
            return read_label_studio(content)
    raise MMCosegError(
        f'{path} is neither a file of COCO instances nor a JSON export of Label Studio; of labelme '
        'and of masks give the folder'
    )


def _read_folder(folder: Path) -> GivenHints:
    if (folder / 'masks').is_dir():  # a folder of results has more in it
        return read_examples(folder)
    for name in _EXPORTED:
        if (folder / name).exists():
            return read_corrections(folder / name)
    files = labelme_files(folder)
    return read_labelme(folder, files) if files else read_examples(folder)


def _read_coco(contents: dict[str, Any], path: Path) -> GivenHints:
    coco_files = [parse_coco(content, path) for content in contents.values()]
    order = []
    for coco in coco_files:
        ids = sorted(coco.names, key=lambda key: (isinstance(key, str), key))
        order += [coco.names[key] for key in ids]
    masks = LabelMasks(order)
    for coco in coco_files:
        with naming(str(path)):
            _read_images(coco, masks)
    return masks.hints()


def _read_images(coco: CocoFile, masks: LabelMasks) -> None:
    annotations = coco.annotations_by_image()
    for image in coco.images:
        name = '/'.join(PurePosixPath(image['file_name']).parts[-2:])
        with naming(f'image {name!r}'):
            size = image_size(image)
            objects = []
            for annotation in annotations[image['id']]:
                [mask] = decode_rles([rle_of(annotation, size)], *size)
                if not mask.any():
                    raise MMCosegError(
                        f'annotation {annotation["id"]} has no pixel; if it is a box, make it a '
                        'mask or a polygon, or remove it'
                    )
                objects.append((coco.names[annotation['category_id']], mask))
            masks.add(name, size, objects, image.get('categories', ()))
