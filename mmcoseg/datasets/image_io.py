"""Reading images and masks of every kind that users have."""

import zlib
from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ..compat import pillow_reads_avif, pillow_reads_heif
from ..errors import MMCosegError
from ..structures import CoSegDataSample

__all__ = [
    'IMAGE_SUFFIXES',
    'UNREAD_SUFFIXES',
    'BadImageError',
    'from_pil',
    'image_of',
    'open_image',
    'read_image',
    'read_mask',
    'require_one_size',
]


_RAW_SUFFIXES = tuple(
    '.3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .gpr .iiq .k25 .kdc .mef .mos .mrw .nef .nrw '
    '.orf .pef .raf .raw .rw2 .rwl .sr2 .srf .srw .x3f'.split()
)
_RAW_CURE = "is a camera's raw file, which is not read: develop it to JPEG or TIFF"

#: Suffixes, in lower case, of the files that are taken for images.
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.gif')
#: Suffixes of photographs that cannot be read here -> what they are, and what helps.
UNREAD_SUFFIXES = dict.fromkeys(_RAW_SUFFIXES, _RAW_CURE)
UNREAD_SUFFIXES['.jxl'] = 'is a JPEG XL image, which is not read: save it as JPEG or PNG'
#: The same by how files begin after four bytes, whatever they are called.
_UNREAD_HEADS: dict[bytes, str] = {}
for _is_read, _suffixes, _heads, _cure in (
    (
        pillow_reads_heif(),
        ('.heic', '.heif', '.hif'),
        (b'ftypheic', b'ftypheix', b'ftypheim', b'ftypheis', b'ftypmif1', b'ftypmsf1'),
        'is a HEIC photo: `pip install pillow-heif` and it is read',
    ),
    (
        pillow_reads_avif(),
        ('.avif',),
        (b'ftypavif', b'ftypavis'),
        'is an AVIF image: `pip install --upgrade pillow` (11.3 or later) and it is read',
    ),
):
    if _is_read:
        IMAGE_SUFFIXES += _suffixes
    else:
        UNREAD_SUFFIXES |= dict.fromkeys(_suffixes, _cure)
        _UNREAD_HEADS |= dict.fromkeys(_heads, _cure)

_PNG_HEAD = b'\x89PNG\r\n\x1a\n'
#: Modes of images that are converted before their values are a mask -> what to.
_MASK_MODES = dict.fromkeys(('RGBA', 'CMYK', 'YCbCr', 'LAB', 'HSV', 'RGBX', 'RGBa'), 'RGB')
_MASK_MODES |= dict(LA='L', La='L')
#: Alpha from which a pixel of a mask is not transparent.
_OPAQUE = 128


class BadImageError(MMCosegError):
    """An image or mask that cannot be used; the message names the file and the cause."""


def open_image(path: str | Path, load: bool = False) -> Image.Image:
    """Open an image file as ``PIL.Image.open`` does.

    As browsers do, it opens a PNG with sound pixels even if what stands beside them (texts, dates,
    color profiles) is damaged or absurdly large. ``load`` reads the pixels now.

    Raises:
        BadImageError: if it is no image that can be read.
        Image.DecompressionBombError: if it has more pixels than Pillow reads.
    """
    if Path(path).suffix.lower() in _RAW_SUFFIXES:  # Pillow takes their previews for images
        raise BadImageError(f'{path} {_RAW_CURE}')
    try:
        return _opened(path, load)
    except (FileNotFoundError, Image.DecompressionBombError):
        raise
    # Pillow's readers raise anything on damaged files: struct.error, EOFError, KeyError, ...
    except Exception as error:
        cause = error
    with suppress(Exception):
        return _opened(_bare_png(path), load)
    head = b''
    with suppress(OSError), open(path, 'rb') as file:
        head = file.read(12)[4:]
    unread = (
        f'cannot be read as an image ({str(cause).strip() or type(cause).__name__}); '
        'repair, replace or remove the file'
    )
    cure = _UNREAD_HEADS.get(head) or UNREAD_SUFFIXES.get(Path(path).suffix.lower(), unread)
    raise BadImageError(f'{path} {cure}') from cause


def _opened(file: str | Path | BytesIO, load: bool) -> Image.Image:
    image = Image.open(file)
    if load:
        image.load()
    return image


def _bare_png(path: str | Path) -> BytesIO:
    """A PNG without the chunks that do not concern its pixels; nothing of other files.

    Transparency and EXIF data, which may hold a rotation, stay if their checksum is right. What is
    left out is not read, however large it is.
    """
    parts = [_PNG_HEAD]
    with open(path, 'rb') as file:
        if file.read(8) != _PNG_HEAD:
            return BytesIO()
        while len(head := file.read(8)) == 8:
            size, kind = int.from_bytes(head[:4], 'big') + 4, head[4:]
            pixels = kind[:1].isupper()  # so PNG marks chunks that none can do without
            if not pixels and kind not in (b'tRNS', b'eXIf'):
                file.seek(size, 1)
                continue
            body = file.read(size)
            if pixels or zlib.crc32(kind + body[:-4]) == int.from_bytes(body[-4:], 'big'):
                parts += [head, body]
    return BytesIO(b''.join(parts))


def _open(path: str | Path) -> Image.Image:
    try:
        return open_image(path, load=True)
    except Image.DecompressionBombError as error:
        raise BadImageError(f'{path} cannot be read as an image: {error}') from error


def read_image(path: str | Path) -> np.ndarray:
    """Read an image of any kind as (H, W, 3) uint8 BGR, upright, as :func:`from_pil` says.

    Raises: BadImageError: if it is no image, truncated, or absurdly large.
    """
    return from_pil(_open(path))


def from_pil(image: Image.Image) -> np.ndarray:
    """A Pillow image of any kind as (H, W, 3) uint8 BGR, upright.

    Gray becomes three equal channels, palettes and CMYK are converted. 16-bit values are divided
    by 257; floats within [0, 1] are scaled from there, values outside of 0..65535 from their own
    range. Transparency is laid over white, a rotation noted in the EXIF data is carried out, and an
    animation gives its current (first) frame.
    """
    with suppress(Exception):  # damaged EXIF data; the pixels are good all the same
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith(('I', 'F')):
        gray = np.rint(_to_255(np.asarray(image))).astype(np.uint8)
        return np.repeat(gray[:, :, None], 3, axis=2)
    if image.mode in ('RGBA', 'LA', 'PA') or 'transparency' in image.info:
        image = image.convert('RGBA')
        background = Image.new('RGBA', image.size, 'white')
        image = Image.alpha_composite(background, image)
    return np.ascontiguousarray(np.asarray(image.convert('RGB'))[:, :, ::-1])


def _to_255(values: np.ndarray) -> np.ndarray:
    """Gray values of any range, integers or floats, as float64 from 0 to 255."""
    floats = values.dtype.kind == 'f'
    values = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = values.min(initial=0), values.max(initial=0)
    if low < 0 or high > 65535:
        return (values - low) * (255 / (high - low))
    if floats and high <= 1:
        return values * 255
    # Pillow gives 16-bit gray files in modes of more bits; what fits into 8 is taken as it is.
    return values / 257 if high > 255 else values


def read_mask(path: str | Path) -> np.ndarray:
    """Read a mask's values (H, W) uint8 as they stand in the file.

    Palette images give their indices, 1-bit images 0 and 1; color images must be gray in all
    pixels. EXIF rotations are ignored. Transparency counts only where all opaque pixels have one
    color: they are the object then, with that color's value if it is gray and not black and 255
    otherwise, and transparent pixels are 0.

    Raises: BadImageError: if it is no image, or colored, or has values outside of 0..255.
    """
    image = _open(path)
    mode = image.mode
    if mode in ('LA', 'RGBA'):
        mask = _mask_in_alpha(np.asarray(image))
        if mask is not None:
            return mask
    image = image.convert(_MASK_MODES.get(mode, mode))
    values = np.atleast_3d(np.asarray(image))
    if (values[:, :, 1:] != values[:, :, :1]).any():
        hint = '; if its transparency is the mask, save that alone' if mode == 'RGBA' else ''
        raise BadImageError(
            f'{path} is {mode}, expected palette or gray: it is a color image, not a mask; '
            f'save one value a pixel (0 background, 1 or 255 object, or 1..K object classes){hint}'
        )
    values = values[:, :, 0]
    if (values != np.clip(values, 0, 255)).any():
        raise BadImageError(
            f'{path} has mask values from {values.min()} to {values.max()}; masks hold 0..255'
        )
    return values.astype(np.uint8)


def _mask_in_alpha(values: np.ndarray) -> np.ndarray | None:
    """The mask that transparency makes of an image (H, W, 2 or 4) uint8; see :func:`read_mask`.

    None if nothing is transparent, or the colors tell pixels apart.
    """
    colors, opaque = values[:, :, :-1], values[:, :, -1] >= _OPAQUE
    # Without opaque pixels the hidden colors must agree: some programs hide all of a mask.
    shown = colors[opaque] if opaque.any() else colors.reshape(-1, colors.shape[2])
    if opaque.all() or (shown != shown[0]).any():
        return None
    color = shown[0]
    gray = (color == color[0]).all() and color[0] > 0
    return np.where(opaque, color[0] if gray else 255, 0).astype(np.uint8)


def require_one_size(
    file: object, size: Sequence[int], other: object, other_size: Sequence[int]
) -> None:
    """Refuse two files, such as an image and its mask, of different height and width."""
    if tuple(size) != tuple(other_size):
        raise BadImageError(
            f'{file} is {size[0]} x {size[1]}, {other} is {other_size[0]} x {other_size[1]} '
            '(height x width, upright); they must have one size'
        )


def image_of(sample: CoSegDataSample) -> np.ndarray:
    """The original image of a sample, (H, W, 3) uint8 BGR, upright; do not write into it.

    Looks in the sample's metainfo, in this order, for ``ori_img``, the image as an array;
    ``render``, which draws it again (``SyntheticCoSegDataset``); and ``img_path``, its file, which
    raises as :func:`read_image`.

    Example:
        >>> sample = CoSegDataSample(metainfo=dict(ori_img=np.zeros((4, 6, 3), np.uint8)))
        >>> image_of(sample).shape
        (4, 6, 3)
    """
    image = sample.get('ori_img')
    if image is None and sample.get('render') is not None:
        return sample.get('render').load()[0]
    if image is None and sample.get('img_path'):
        return read_image(sample.get('img_path'))
    kind = np.asarray(image)
    if kind.dtype != np.uint8 or kind.shape[2:] != (3,):
        raise MMCosegError(
            f'the sample {sample.get("group")}/{sample.get("stem")} must have an img_path or an '
            f'ori_img, (H, W, 3) uint8 BGR; its ori_img is {kind.dtype} {kind.shape}'
        )
    return image
