"""The files of one image. Each exporter writes one kind and returns kind -> relative path."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ..files import copy_file, file_name_of, relative_path, save_image, write_atomically, write_json
from ..structures.coseg_data_sample import VOID
from ..visualization import PALETTE, overlay
from ..visualization.contact_sheet import VOID_COLOR
from .labelme import labelme_mask_document, labelme_polygon_document
from .objects import Picture
from .report import THUMBNAIL_SIDE
from .yolo import YoloNames, yolo_lines

__all__ = [
    'YoloExporter',
    'export_cutout',
    'export_labelme',
    'export_labelme_masks',
    'export_masks',
    'export_overlay',
    'export_soft_map',
    'export_thumbnails',
]

#: Suffixes and Pillow's formats of the images that Ultralytics reads without other packages.
_YOLO_SUFFIXES = frozenset({'.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp'})
_YOLO_FORMATS = frozenset({'BMP', 'JPEG', 'MPO', 'PNG', 'TIFF', 'WEBP'})
_ORIENTATION = 0x0112
#: Folders of what is needed again: to assemble the report, and to go on from the masks.
_THUMBNAILS, _SOFT_MAPS = '.mmcoseg/thumbnails', '.mmcoseg/maps'
#: Pixels of an overlay that are drawn at once, and rows beyond them.
_BAND_PIXELS = 4_000_000
_BAND_MARGIN = 3


def export_masks(picture: Picture, out_dir: Path) -> dict[str, str]:
    """The mask of classes, and that of instances if there are any."""
    result = picture.result
    files = dict(masks=picture.path('masks', '.png'))
    if len(result.names) == 1:
        mask = Image.fromarray((result.labels != 0).astype(np.uint8) * 255)
    else:
        mask = _with_palette(result.labels)
    save_image(mask, out_dir / files['masks'], 'PNG')
    if picture.numbers is not None:
        files['instances'] = picture.path('instances', '.png')
        numbers = Image.fromarray(picture.numbers)
        if picture.numbers.max(initial=0) < 256:
            numbers = _with_palette(picture.numbers.astype(np.uint8), void=False)
        save_image(numbers, out_dir / files['instances'], 'PNG')
    return files


def export_overlay(picture: Picture, out_dir: Path) -> dict[str, str]:
    """The image with its objects tinted and outlined."""
    path = picture.path('overlays', '.jpg')
    drawn = Image.fromarray(_overlay_by_bands(picture.rgb, picture.shown))
    save_image(drawn, out_dir / path, 'JPEG', quality=90, optimize=True)
    return dict(overlays=path)


def export_cutout(picture: Picture, out_dir: Path) -> dict[str, str]:
    """The objects on transparent ground, RGBA."""
    path = picture.path('cutouts', '.png')
    inside = picture.result.labels != 0
    # Black outside: hidden pixels must not be passed on, nor cost space.
    cutout = np.dstack([picture.rgb * inside[..., None], inside.astype(np.uint8) * 255])
    save_image(Image.fromarray(cutout), out_dir / path, 'PNG')
    return dict(cutouts=path)


def export_labelme(picture: Picture, out_dir: Path) -> dict[str, str]:
    """Polygons."""
    path = picture.path('labelme', '.json')
    document = labelme_polygon_document(picture, (out_dir / path).parent)
    write_json(out_dir / path, document, indent=1)
    return dict(labelme=path)


def export_labelme_masks(picture: Picture, out_dir: Path) -> dict[str, str]:
    """Exact masks."""
    path = picture.path('labelme-masks', '.json')
    document = labelme_mask_document(picture, (out_dir / path).parent)
    write_json(out_dir / path, document, indent=1)
    return {'labelme-masks': path}


class YoloExporter:
    """Labels and images as Ultralytics looks for them; links to images, or copies."""

    def __init__(self, out_dir: Path, copy_images: bool) -> None:
        self.names = YoloNames(out_dir / 'yolo/data.yaml')
        self.copy_images = copy_images

    def __call__(self, picture: Picture, out_dir: Path) -> dict[str, str]:
        # Ultralytics looks for the labels of .../images/x/y.jpg at .../labels/x/y.txt, where
        # "images" is the last folder of this name.
        folder = file_name_of(picture.group, reserved={'images'})
        source = picture.source if _yolo_reads(picture.source) else None
        suffix = source.suffix if source else '.png'
        longest = max('.txt', suffix, key=len)  # one name for both files, which must not be cut
        name = file_name_of(picture.stem, longest).removesuffix(longest)
        label = f'yolo/labels/{folder}/{name}.txt'
        copy = f'yolo/images/{folder}/{name}{suffix}'
        numbers = self.names.number(picture.result.categories)  # of all, to fix their order
        with write_atomically(out_dir / label) as file:
            file.write(yolo_lines(picture.result.objects, numbers).encode())
        if source is None:
            save_image(Image.fromarray(picture.rgb), out_dir / copy, 'PNG')
        elif self.copy_images:
            copy_file(source, out_dir / copy)
        else:
            _link(source, out_dir / copy)
        return dict(yolo=label, yolo_images=copy)


def export_thumbnails(picture: Picture, out_dir: Path) -> dict[str, str]:
    """Image, mask and overlay as the report shows them."""
    result = picture.result
    height, width = result.labels.shape
    factor = min(1.0, THUMBNAIL_SIDE / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = cv2.resize(picture.rgb, size, interpolation=cv2.INTER_AREA)
    labels = cv2.resize(picture.shown, size, interpolation=cv2.INTER_NEAREST)
    single = len(result.names) == 1 and result.instances is None
    mask = Image.fromarray(labels != 0) if single else _with_palette(labels)
    jpeg = dict(format='JPEG', quality=80, optimize=True)
    paths = {}
    for kind, suffix, thumbnail, options in (
        ('image', '.image.jpg', Image.fromarray(small), jpeg),
        ('mask', '.mask.png', mask, dict(format='PNG', optimize=True)),
        ('overlay', '.overlay.jpg', Image.fromarray(overlay(small, labels)), jpeg),
    ):
        paths[kind] = picture.path(_THUMBNAILS, suffix)
        save_image(thumbnail, out_dir / paths[kind], **options)
    return paths


def export_soft_map(prob: np.ndarray, picture: Picture, out_dir: Path) -> str:
    """The soft map (C, h, w) in [0, 1] that the mask was made of, in steps of 1 / 255.

    The file holds ``prob``, (C, h, w) uint8.
    """
    path = picture.path(_SOFT_MAPS, '.npz')
    values = np.rint(255 * prob.clip(0, 1)).astype(np.uint8)
    with write_atomically(out_dir / path) as file:
        np.savez_compressed(file, prob=values)
    return path


def _with_palette(labels: np.ndarray, void: bool = True) -> Image.Image:
    """Numbers as an image whose values stay, and that viewers show in colors."""
    colors = np.zeros((256, 3), np.uint8)
    colors[1:] = np.resize(PALETTE, (255, 3))
    if void:
        colors[VOID] = VOID_COLOR
    picture = Image.fromarray(labels)
    picture.putpalette(colors.tobytes())
    return picture


def _overlay_by_bands(rgb: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """``overlay`` in bands, since its intermediate maps take ten bytes a pixel."""
    height, width = rgb.shape[:2]
    rows = max(1, _BAND_PIXELS // max(1, width))
    if height <= rows:
        return overlay(rgb, shown)
    out = np.empty_like(rgb)
    for top in range(0, height, rows):
        # The margin keeps outlines from being drawn along the end of a band.
        first, last = max(0, top - _BAND_MARGIN), top + rows + _BAND_MARGIN
        band = overlay(rgb[first:last], shown[..., first:last, :])
        out[top : top + rows] = band[top - first :][:rows]
    return out


def _yolo_reads(source: Path | None) -> bool:
    """Whether Ultralytics reads an image file, and the same way as we do."""
    if source is None or source.suffix.lower() not in _YOLO_SUFFIXES:
        return False
    try:
        with Image.open(source) as image:
            image.verify()  # as it does: files of damaged metadata are left out there
        with Image.open(source) as image:
            # Only of JPEG files is a rotation noted in the EXIF data carried out for certain.
            upright = image.format in ('JPEG', 'MPO') or image.getexif().get(_ORIENTATION, 1) == 1
            return image.format in _YOLO_FORMATS and upright
    except Exception:  # Pillow's readers raise anything on damaged files
        return False


def _link(source: Path, path: Path) -> None:
    """A relative link to a file, or a copy if the file system has no links."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    try:
        path.symlink_to(relative_path(source, path.parent))
    except OSError:
        copy_file(source, path)
