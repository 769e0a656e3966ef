"""Reading images and masks of every kind that users have."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ..structures import CoSegDataSample

__all__ = ['IMAGE_SUFFIXES', 'BadImageError', 'from_pil', 'image_of', 'read_image', 'read_mask']

#: Suffixes, in lower case, of the files that are taken for images.
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.gif')


class BadImageError(ValueError):
    """An image or mask that cannot be used; the message names the file and the cause."""


def _open(path: str | Path) -> Image.Image:
    try:
        image = Image.open(path)
        image.load()
    except FileNotFoundError:
        raise
    # Pillow's readers raise anything on damaged files: struct.error, EOFError, KeyError, ...
    except Exception as error:
        raise BadImageError(
            f'{path} cannot be read as an image ({error or type(error).__name__}); repair, replace '
            'or remove the file'
        ) from error
    return image


def read_image(path: str | Path) -> np.ndarray:
    """Read an image of any kind as 8-bit colour, upright, as :func:`from_pil` says.

    Returns:
        (H, W, 3) uint8, BGR (the order of OpenCV and mmcv).

    Raises:
        FileNotFoundError: if there is no such file.
        BadImageError: if it is no image, truncated, or absurdly large.
    """
    return from_pil(_open(path))


def from_pil(image: Image.Image) -> np.ndarray:
    """A Pillow image of any kind as 8-bit colour, upright.

    Grey becomes three equal channels, a palette its colours, CMYK is converted; 16-bit values are
    scaled (divided by 257), not cut off; so are floats, where they lie within [0, 1] from there,
    and values outside of 0..65535 from their own range; transparency is laid over white; a
    rotation noted in the EXIF data is carried out; of an animation the current (first) frame is
    taken.

    Returns:
        (H, W, 3) uint8, BGR.
    """
    image = _upright(image)
    if image.mode in ('I', 'F') or image.mode.startswith('I;16'):
        grey = np.rint(_to_255(np.asarray(image))).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ('RGBA', 'LA', 'PA') or 'transparency' in image.info:
        image = image.convert('RGBA')
        background = Image.new('RGBA', image.size, 'white')
        image = Image.alpha_composite(background, image)
    return np.ascontiguousarray(np.asarray(image.convert('RGB'))[:, :, ::-1])


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF data; the pixels are good all the same
        return image


def _to_255(values: np.ndarray) -> np.ndarray:
    """Grey values of any range, integers or floats, as float64 from 0 to 255."""
    floats = values.dtype.kind == 'f'
    values = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = values.min(initial=0), values.max(initial=0)
    if low < 0 or high > 65535:
        return (values - low) * (255 / (high - low))
    if floats and high <= 1:
        return values * 255
    # Pillow gives 16-bit grey files in modes of more bits; what fits into 8 is taken as it is.
    return values / 257 if high > 255 else values


def read_mask(path: str | Path) -> np.ndarray:
    """Read a mask's values as they stand in the file.

    Palette images give their indices; colour images must be grey in all pixels; transparency is
    ignored; 1-bit images give 0 and 1; EXIF rotations are ignored.

    Returns:
        (H, W) uint8.

    Raises:
        FileNotFoundError: if there is no such file.
        BadImageError: if it is no image, or coloured, or has values above 255.
    """
    image = _open(path)
    if image.mode in ('LA', 'RGBA', 'CMYK', 'YCbCr', 'LAB', 'HSV', 'RGBX', 'RGBa', 'La'):
        image = image.convert('L' if image.mode in ('LA', 'La') else 'RGB')
    values = np.asarray(image)
    if values.ndim == 3:
        if (values != values[:, :, :1]).any():
            raise BadImageError(
                f'{path} is a colour image, not a mask; save one value a pixel '
                '(0 background, 1 or 255 object, or 1..K object classes)'
            )
        values = values[:, :, 0]
    if values.dtype != bool and (values.min(initial=0) < 0 or values.max(initial=0) > 255):
        raise BadImageError(
            f'{path} has mask values from {values.min()} to {values.max()}; masks hold 0..255'
        )
    return values.astype(np.uint8)


def image_of(sample: CoSegDataSample) -> np.ndarray:
    """The original image that a sample stands for.

    Looked for in the sample's metainfo, in this order: ``ori_img``, the image itself where it came
    as an array; ``render``, which draws it again (``SyntheticCoSegDataset``); ``img_path``, its
    file.

    Returns:
        (H, W, 3) uint8 BGR, upright. Not to be written into: it may be the sample's own array.

    Raises:
        KeyError: if the sample names no image.
        ValueError: if ``ori_img`` is no such array.
        FileNotFoundError, BadImageError: as :func:`read_image`.

    Example:
        >>> sample = CoSegDataSample(metainfo=dict(ori_img=np.zeros((4, 6, 3), np.uint8)))
        >>> image_of(sample).shape
        (4, 6, 3)
    """
    image = sample.get('ori_img')
    if image is not None:
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape[2:] != (3,):
            found = f'{image.dtype} {image.shape}' if hasattr(image, 'dtype') else type(image)
            raise ValueError(f"a sample's ori_img must be (H, W, 3) uint8 BGR, got {found}")
        return image
    if sample.get('render') is not None:
        return sample.get('render').load()[0]
    if sample.get('img_path'):
        return read_image(sample.get('img_path'))
    raise KeyError(
        f"the sample {sample.get('group')}/{sample.get('stem')} names no image; put 'img_path' "
        "(or 'ori_img') into the meta_keys of PackGroupInputs"
    )
