"""labelme's files: polygons or exact masks, written and read.

https://github.com/wkentaro/labelme, ``labelme/_label_file.py`` and ``labelme/utils/shape.py``, say
what stands in a file and which pixels a shape covers.
"""

import base64
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw

from ..datasets.coco_file import image_size, read_json
from ..datasets.hint_files import GivenHints
from ..errors import MMCosegError, naming
from ..files import display_name, relative_path
from .label_masks import LabelMasks
from .objects import ObjectMask, Picture
from .polygons import mask_to_polygons

__all__ = ['labelme_files', 'labelme_mask_document', 'labelme_polygon_document', 'read_labelme']

#: Version of labelme whose form its files have.
_VERSION = '5.5.0'


def labelme_polygon_document(picture: Picture, folder: Path) -> dict[str, Any]:
    """The content of a labelme file in this folder, with polygons.

    Each connected part of an object is a polygon through pixel centers, as labelme draws them;
    parts of one object have a common ``group_id``. A hole hangs on a bridge of no width.
    """
    shapes = []
    for number, item in enumerate(picture.result.objects, start=1):
        polygons = mask_to_polygons(item.mask)
        for polygon in polygons:
            shape = _shape(item, 'polygon', polygon.tolist())
            shape['group_id'] = number if len(polygons) > 1 else None
            shapes.append(shape)
    return _document(picture, folder, shapes)


def labelme_mask_document(picture: Picture, folder: Path) -> dict[str, Any]:
    """The content of a labelme file in this folder, with a shape of type ``mask`` per object.

    Its points are the first and the last pixel of the object's box, its mask a PNG of the box.
    """
    shapes = []
    for item in picture.result.objects:
        pixels = item.mask.astype(np.uint8)
        left, top, width, height = cv2.boundingRect(pixels)
        corners = [[left, top], [left + width - 1, top + height - 1]]
        shape = _shape(item, 'mask', np.array(corners, float).tolist())
        shape['mask'] = _png(pixels[top : top + height, left : left + width])
        shapes.append(shape)
    return _document(picture, folder, shapes)


def _shape(item: ObjectMask, kind: str, points: list[list[float]]) -> dict[str, Any]:
    return dict(
        label=display_name(item.category),
        points=points,
        group_id=None,
        description='',
        shape_type=kind,
        flags={},
    )


def _document(picture: Picture, folder: Path, shapes: list[dict[str, Any]]) -> dict[str, Any]:
    """An image that has no file is put into the document."""
    height, width = picture.result.labels.shape
    if picture.source is None:
        path, data = 'image.png', _png(picture.rgb)
    else:
        path, data = relative_path(picture.source, folder), None
    return dict(
        version=_VERSION,
        flags={},
        shapes=shapes,
        imagePath=path,
        imageData=data,
        imageHeight=height,
        imageWidth=width,
        # labelme keeps what it does not know.
        categories=list(map(display_name, picture.result.categories)),
    )


def _png(pixels: np.ndarray) -> str:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, 'PNG')
    return base64.b64encode(buffer.getvalue()).decode()


def labelme_files(folder: Path) -> list[Path]:
    """Files ``<group>/<stem>.json`` and ``<stem>.json`` of labelme; no others."""
    files = []
    for file in sorted([*folder.glob('[!.]*.json'), *folder.glob('[!.]*/[!.]*.json')]):
        content = read_json(file)
        if isinstance(content, dict) and 'shapes' in content:
            files.append(file)
    return files


def read_labelme(folder: Path, files: Sequence[Path]) -> GivenHints:
    """The masks in labelme's files, ``<group>/<stem>.json`` or ``<stem>.json`` in a folder.

    Masks, polygons, rectangles and circles cover the pixels that labelme says they do.

    Raises:
        MMCosegError: naming the file, the shape, and what is wrong.
    """
    masks = LabelMasks()
    for file in files:
        content = read_json(file)
        image = file.relative_to(folder).with_suffix('').as_posix()
        with naming(str(file)):
            sides = dict(height=content.get('imageHeight'), width=content.get('imageWidth'))
            size = image_size(sides)
            objects = []
            for number, shape in enumerate(content['shapes'], 1):
                with naming(f'shape {number}'):
                    objects.append((_label_of(shape), _mask_of(shape, size)))
            masks.add(image, size, objects, content.get('categories', ()))
    return masks.hints()


def _label_of(shape: dict[str, Any]) -> str:
    label = shape.get('label')
    if not isinstance(label, str) or not label:
        raise MMCosegError('it has no label; give it one in labelme')
    return label


def _mask_of(shape: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    """The pixels of a shape, (H, W) bool."""
    kind, points = shape.get('shape_type') or 'polygon', _points_of(shape)
    if kind == 'mask':
        return _pasted(shape, points, size)
    canvas = Image.new('L', size[::-1])
    draw = ImageDraw.Draw(canvas)
    corners = list(map(tuple, points.tolist()))
    match kind, len(points):
        case 'rectangle', 2:
            draw.rectangle([*points.min(axis=0), *points.max(axis=0)], outline=1, fill=1)
        case 'circle', 2:
            radius = float(np.hypot(*(points[1] - points[0])))
            draw.ellipse([*points[0] - radius, *points[0] + radius], outline=1, fill=1)
        case (('polygon' | 'oriented_rectangle'), number) if number > 2:
            draw.polygon(corners, outline=1, fill=1)
        case _:
            raise MMCosegError(
                f'it is a {kind} of {len(points)} points, which covers no area; masks, polygons, '
                'rectangles and circles can be read'
            )
    return np.asarray(canvas) > 0


def _points_of(shape: dict[str, Any]) -> np.ndarray:
    """Points (n, 2) float64 of a shape."""
    try:
        points = np.array([(float(x), float(y)) for x, y in shape['points']])
    except (KeyError, TypeError, ValueError):
        points = np.array(np.nan)
    if not np.isfinite(points).all():
        raise MMCosegError('its points are not a list of [x, y]')
    return points


def _pasted(shape: dict[str, Any], points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The pixels of a shape of type ``mask``."""
    try:
        picture = Image.open(BytesIO(base64.b64decode(shape.get('mask'))))
        left, top, right, bottom = points.astype(int).ravel().tolist()
        inside = 0 <= left <= right < size[1] and 0 <= top <= bottom < size[0]
        if not inside or picture.size != (right - left + 1, bottom - top + 1):
            raise MMCosegError(f'its mask is {picture.size}, its points are {points.tolist()}')
        mask = np.zeros(size, bool)
        mask[top : bottom + 1, left : right + 1] = np.asarray(picture)
    except (TypeError, ValueError, OSError, Image.DecompressionBombError) as error:
        raise MMCosegError(
            f'its mask does not fit ({error}); it must be a PNG of the box between its points, '
            f'in an image of {size[1]} x {size[0]} (width x height)'
        ) from error
    return mask
