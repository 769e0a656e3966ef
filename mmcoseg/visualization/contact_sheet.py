"""Contact sheets: all images of a group on one picture, with their masks."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import MMCosegError
from ..structures.coseg_data_sample import VOID

__all__ = ['PALETTE', 'VOID_COLOR', 'SheetEntry', 'color_of', 'contact_sheet', 'overlay']

#: RGB of mask values 1, 2, ... and of instances; far apart also for color-blind eyes (after Okabe
#: and Ito), repeated if there are more.
PALETTE = (
    (255, 140, 0),
    (0, 190, 255),
    (240, 80, 160),
    (0, 200, 120),
    (245, 230, 60),
    (90, 110, 255),
    (230, 60, 40),
    (170, 120, 255),
)
#: RGB of void pixels.
VOID_COLOR = (150, 150, 150)

#: Share of the color inside objects and inside void, and brightness of the background.
_TINT, _VOID_TINT, _DIM = 0.4, 0.5, 0.45

#: Fields of an entry, from top to bottom.
_LINES = ('image', 'truth', 'prediction')
_WHITE, _INK, _GRAY = (255, 255, 255), (30, 30, 30), (120, 120, 120)
_UNKNOWN = 235  # gray of a cell without a mask: a blank cell, not a black one
# In pixels.
_WIDTH = 1400  # of a sheet, at most
_CELL_HEIGHT = 150
_CELL_WIDTH = 3 * _CELL_HEIGHT  # at most
_LEAST_WIDTH = 80  # so that a thin image has room for its caption
_GAP = 6  # between the cells of one image
_STEP = _CELL_HEIGHT + _GAP  # from one line of cells to the next
_MARGIN = 14  # around the sheet and between images
_FONT_SIZE = 13
_LINE_HEIGHT = _FONT_SIZE + 4
_TITLE_SIZE = 20


@dataclass
class SheetEntry:
    """One image of a sheet.

    Args:
        image: (H, W, 3) uint8, RGB.
        truth: true mask at any resolution: (h, w) integer, 0 background, 1..K classes, 255 void;
            or instances (n, h, w) bool. None: unknown.
        prediction: as ``truth``.
        caption: text under the image, one or two lines, shortened to the image's width.
    """

    image: np.ndarray
    truth: np.ndarray | None = None
    prediction: np.ndarray | None = None
    caption: str = ''


def color_of(number: int) -> tuple[int, int, int]:
    """RGB of class or instance ``number``, from 0 on; the palette repeats."""
    return PALETTE[number % len(PALETTE)]


def overlay(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Show a mask on its image: objects tinted and outlined, all else darkened and grayed.

    Args:
        image: (H, W, 3) uint8, RGB.
        mask: at any resolution, resized to the image's: (h, w) integer, 0 background, 1..K
            classes, 255 void; or instances (n, h, w) bool, later ones above.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        MMCosegError: if the mask has neither form.

    Example:
        >>> overlay(np.full((4, 4, 3), 200, np.uint8), np.zeros((2, 2), int))[0, 0]
        array([90, 90, 90], dtype=uint8)
    """
    if mask.ndim not in (2, 3):
        raise MMCosegError(f'a mask must be (h, w) or instances (n, h, w), got {mask.shape}')
    size, void = image.shape[1::-1], np.zeros(image.shape[:2], np.uint8)
    layers = []
    if mask.ndim == 2:
        labels = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        void = (labels == VOID).view(np.uint8)
        counts = cv2.calcHist([labels], [0], None, [VOID], [0, VOID]).ravel()
        for value in np.flatnonzero(counts[1:]).tolist():
            layers.append((color_of(value), (labels == value + 1).view(np.uint8)))
    else:
        for number, one in enumerate((mask != 0).view(np.uint8)):
            layer = cv2.resize(one, size, interpolation=cv2.INTER_NEAREST)
            layers.append((color_of(number), layer))
    # In whole numbers by OpenCV, for an image of 12 megapixels six times as fast as in floats.
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    out = cv2.addWeighted(image, 0.5 * _DIM, gray, 0.5 * _DIM, 0)
    fills = [(VOID_COLOR, void, _VOID_TINT), *[(*layer, _TINT) for layer in layers]]
    for color, layer, tint in fills:
        # With many instances, each covers little of the image.
        x, y, width, height = cv2.boundingRect(layer)
        inside = np.s_[y : y + height, x : x + width]
        if width:
            cv2.copyTo(_tinted(image[inside], color, tint), layer[inside], out[inside])
    for color, layer in layers:
        contours, _ = cv2.findContours(layer, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(out, contours, -1, color, 1, cv2.LINE_AA)
    return out


def _tinted(image: np.ndarray, color: tuple[int, int, int], share: float) -> np.ndarray:
    """The image (h, w, 3) uint8 with this share of a color."""
    values = np.arange(256)[:, None, None]
    table = np.rint((1 - share) * values + share * np.asarray(color)).astype(np.uint8)
    return cv2.LUT(image, table)


def contact_sheet(
    entries: Sequence[SheetEntry], title: str = '', legend: Sequence[str] = ()
) -> np.ndarray:
    """Draw images side by side, each above its true and its predicted mask.

    A row of the sheet holds as many images as fit. If no image has a true or a predicted mask,
    the sheet has no line for it.

    Args:
        entries: the images, in order.
        title: printed at the top.
        legend: names of mask values 1, 2, ..., printed beside the title with their colors.

    Returns:
        The sheet, (H, W, 3) uint8, RGB; at most 1,400 pixels wide.

    Raises:
        MMCosegError: without entries, or for an image that is not (H, W, 3) uint8.

    Example:
        >>> image = np.zeros((30, 40, 3), np.uint8)
        >>> entry = SheetEntry(image, prediction=np.eye(30, 40, dtype=int))
        >>> sheet = contact_sheet([entry] * 9, 'cat')
        >>> sheet.shape[1] <= 1400, sheet.dtype
        (True, dtype('uint8'))
    """
    if not entries:
        raise MMCosegError('a contact sheet needs at least one image')
    lines = [line for line in _LINES if any(getattr(e, line) is not None for e in entries)]
    left = _MARGIN + max(map(_text_width, lines)) + 10
    strips = []
    if title or legend:
        strips.append(_heading(_shorten(title, _WIDTH - 2 * _MARGIN, _TITLE_SIZE), legend))
    for blocks in _wrap([_block(entry, lines) for entry in entries], _WIDTH - left - _MARGIN):
        strips.append(_row(blocks, lines, left))
    width = min(_WIDTH, max(strip.width for strip in strips))
    ys = np.cumsum([_MARGIN, *(strip.height for strip in strips)]).tolist()
    sheet = Image.new('RGB', (width, ys.pop()), _WHITE)
    for strip, y in zip(strips, ys):
        sheet.paste(strip, (0, y))
    return np.asarray(sheet)


def _heading(title: str, legend: Sequence[str]) -> Image.Image:
    """The title, and beside it the names of classes behind squares of their colors."""
    title_width = _text_width(title, _TITLE_SIZE)
    widths = [26 + _text_width(name) + 14 for name in legend]
    width = title_width + 24 + sum(widths) + 2 * _MARGIN
    heading = Image.new('RGB', (width, _TITLE_SIZE + 12), _WHITE)
    draw = ImageDraw.Draw(heading)
    middle = _TITLE_SIZE // 2
    draw.text((_MARGIN, middle), title, _INK, _font(_TITLE_SIZE), anchor='lm')
    x = _MARGIN + title_width + 24
    for number, name in enumerate(legend):
        draw.rectangle((x, middle - 6, x + 16, middle + 6), color_of(number))
        draw.text((x + 22, middle), name, _INK, _font(), anchor='lm')
        x += widths[number]
    return heading


def _row(blocks: list[Image.Image], lines: list[str], left: int) -> Image.Image:
    """Images side by side, from ``left`` on, and before them the names of their lines."""
    width = left + sum(block.width + _MARGIN for block in blocks)
    height = max(block.height for block in blocks) + _MARGIN
    row = Image.new('RGB', (width, height), _WHITE)
    draw = ImageDraw.Draw(row)
    for number, line in enumerate(lines):
        middle = number * _STEP + _CELL_HEIGHT // 2
        draw.text((left - 8, middle), line, _GRAY, _font(), anchor='rm')
    x = left
    for block in blocks:
        row.paste(block, (x, 0))
        x += block.width + _MARGIN
    return row


def _block(entry: SheetEntry, lines: list[str]) -> Image.Image:
    """The cells of one image, one above the other, and its caption."""
    image = _scaled(entry.image)
    height, width = image.shape[:2]
    block_width = max(width, _LEAST_WIDTH)
    captions = entry.caption.splitlines()
    y = len(lines) * _STEP - _GAP + 4
    block = Image.new('RGB', (block_width, y + len(captions) * _LINE_HEIGHT), _WHITE)
    left, top = (block_width - width) // 2, (_CELL_HEIGHT - height) // 2
    for line in lines:
        mask = getattr(entry, line)
        cell = image
        if line != 'image':
            cell = np.full_like(image, _UNKNOWN) if mask is None else overlay(image, mask)
        block.paste(Image.fromarray(cell), (left, top))
        top += _STEP
    draw = ImageDraw.Draw(block)
    for text, color in zip(captions, (_INK, _GRAY)):
        draw.text((0, y), _shorten(text, block_width), color, _font())
        y += _LINE_HEIGHT
    return block


def _scaled(image: np.ndarray) -> np.ndarray:
    """The image at a cell's height, or lower if it would be too wide, such as a panorama."""
    if image.shape[2:] != (3,) or image.dtype != np.uint8:
        raise MMCosegError(f'images must be (H, W, 3) uint8, got {image.shape} {image.dtype}')
    scale = min(_CELL_HEIGHT / image.shape[0], _CELL_WIDTH / image.shape[1])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(image, size, interpolation=method)


def _wrap(blocks: list[Image.Image], widest: int) -> list[list[Image.Image]]:
    """The blocks of every row."""
    rows: list[list[Image.Image]] = []
    used = widest
    for block in blocks:
        if used + block.width > widest:
            rows.append([])
            used = 0
        rows[-1].append(block)
        used += block.width + _MARGIN
    return rows


@functools.cache
def _font(size: int = _FONT_SIZE) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def _text_width(text: str, size: int = _FONT_SIZE) -> int:
    return round(_font(size).getlength(text))


def _shorten(text: str, width: int, size: int = _FONT_SIZE) -> str:
    if _text_width(text, size) <= width:
        return text
    while text and _text_width(text + '...', size) > width:
        text = text[:-1]
    return text + '...'
