"""Contact sheets: all images of a group on one picture, with their masks."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import MMCosegError
from ..structures.coseg_data_sample import VOID

__all__ = ['PALETTE', 'VOID_COLOR', 'SheetEntry', 'contact_sheet', 'overlay']

#: RGB of mask values 1, 2, ... (and of instances); far apart also for color-blind eyes
#: (after Okabe and Ito), starting again at the end.
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

_BACKGROUND = (255, 255, 255)
_INK = (30, 30, 30)
_GRAY = (120, 120, 120)
_GAP = 6  # pixels between the cells of one image
_MARGIN = 14  # pixels around the sheet and between images
_FONT_SIZE = 13
_TITLE_SIZE = 20


@dataclass
class SheetEntry:
    """One image of a sheet.

    Args:
        image: (H, W, 3) uint8, RGB.
        truth: true mask at any resolution: (h, w) integer, 0 background, 1..K classes, 255 void;
            or instances (n, h, w) bool. None: not known.
        prediction: as ``truth``.
        caption: a line under the image, shortened to its width; the line's second part, after a
            newline, stands below.
    """

    image: np.ndarray
    truth: np.ndarray | None = None
    prediction: np.ndarray | None = None
    caption: str = ''


def overlay(
    image: np.ndarray,
    mask: np.ndarray,
    palette: Sequence[Sequence[int]] = PALETTE,
    tint: float = 0.4,
    dim: float = 0.45,
) -> np.ndarray:
    """Show a mask on its image: objects tinted and outlined, all else darkened and grayed.

    Args:
        image: (H, W, 3) uint8, RGB.
        mask: at any resolution, resized to the image's: (h, w) integer, 0 background, 1..K
            classes, 255 void; or instances (n, h, w) bool, later ones above.
        palette: RGB of mask values 1, 2, ... or of the instances, repeated as needed.
        tint: share of the color inside objects, in [0, 1].
        dim: brightness of the background, in [0, 1].

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        MMCosegError: if the mask has neither form.

    Example:
        >>> overlay(np.full((4, 4, 3), 200, np.uint8), np.zeros((2, 2), int))[0, 0]
        array([90, 90, 90], dtype=uint8)
    """
    layers, void = _layers(mask, image.shape[:2])
    # In whole numbers by OpenCV, for an image of 12 megapixels six times as fast as in floats.
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    out = cv2.addWeighted(image, 0.5 * dim, gray, 0.5 * dim, 0)
    if void is not None:
        cv2.copyTo(_tinted(image, VOID_COLOR, 0.5), void, out)
    colors = [palette[i % len(palette)] for i, _ in layers]
    for color, (_, layer) in zip(colors, layers, strict=True):
        # Of many instances each covers little of the image.
        x, y, width, height = cv2.boundingRect(layer)
        inside = np.s_[y : y + height, x : x + width]
        cv2.copyTo(_tinted(image[inside], color, tint), layer[inside], out[inside])
    for color, (_, layer) in zip(colors, layers, strict=True):
        contours, _ = cv2.findContours(layer, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(out, contours, -1, tuple(color), 1, cv2.LINE_AA)
    return out


def _tinted(image: np.ndarray, color: Sequence[int], share: float) -> np.ndarray:
    """The image (h, w, 3) uint8 with this share of a color."""
    values = np.arange(256)[:, None, None]
    table = np.rint((1 - share) * values + share * np.asarray(color)).astype(np.uint8)
    return cv2.LUT(image, table) if image.size else image


def _layers(
    mask: np.ndarray, size: tuple[int, int]
) -> tuple[list[tuple[int, np.ndarray]], np.ndarray | None]:
    """Number of the color and mask (H, W) uint8 of every class or instance; and void."""
    height, width = size
    if mask.ndim == 3:
        return [(i, _resize(layer != 0, size)) for i, layer in enumerate(mask)], None
    if mask.ndim != 2:
        raise MMCosegError(f'a mask must be (h, w) or instances (n, h, w), got {mask.shape}')
    labels = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    counts = cv2.calcHist([labels], [0], None, [256], [0, 256]).ravel()
    values = [int(v) for v in np.flatnonzero(counts) if v not in (0, VOID)]
    void = (labels == VOID).view(np.uint8) if counts[VOID] else None
    return [(v - 1, (labels == v).view(np.uint8)) for v in values], void


def _resize(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(mask.view(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST)


def contact_sheet(
    entries: Sequence[SheetEntry],
    title: str = '',
    *,
    cell_height: int = 150,
    max_width: int = 1400,
    palette: Sequence[Sequence[int]] = PALETTE,
    legend: Sequence[str] = (),
) -> np.ndarray:
    """Draw images side by side, each above its true and its predicted mask.

    A row of the sheet holds as many images as fit; the next ones go below. A line of masks that
    no image has is left out.

    Args:
        entries: the images, in order.
        title: printed at the top.
        cell_height: of every picture, in pixels; the width follows the image's form, up to three
            times that.
        max_width: of the sheet, in pixels.
        palette: RGB of mask values 1, 2, ...
        legend: names of mask values 1, 2, ..., printed beside the title in their colors.

    Returns:
        The sheet, (H, W, 3) uint8, RGB.

    Raises:
        MMCosegError: without entries, or for an image that is not (H, W, 3) uint8.

    Example:
        >>> image = np.zeros((30, 40, 3), np.uint8)
        >>> entry = SheetEntry(image, prediction=np.eye(30, 40, dtype=int))
        >>> sheet = contact_sheet([entry] * 9, 'cat', cell_height=60, max_width=400)
        >>> sheet.shape[1] <= 400, sheet.dtype
        (True, dtype('uint8'))
    """
    if not entries:
        raise MMCosegError('a contact sheet needs at least one image')
    lines = ['image']
    lines += ['truth'] if any(entry.truth is not None for entry in entries) else []
    lines += ['prediction'] if any(entry.prediction is not None for entry in entries) else []
    font, title_font = (ImageFont.load_default(size) for size in (_FONT_SIZE, _TITLE_SIZE))
    left = _MARGIN + max(round(font.getlength(line)) for line in lines) + 10
    widest = max(1, max_width - left - _MARGIN)
    columns = [_column(entry, lines, cell_height, widest, palette) for entry in entries]
    rows = _wrap([column.shape[1] for column in columns], widest)

    caption_lines = max(entry.caption.count('\n') + bool(entry.caption) for entry in entries)
    line_height = _FONT_SIZE + 4
    row_height = columns[0].shape[0] + 4 + caption_lines * line_height + _MARGIN
    top = _MARGIN + (_TITLE_SIZE + 12 if title or legend else 0)
    heading = _heading_width(title, legend, title_font, font)
    widths = [sum(columns[i].shape[1] for i in row) + _MARGIN * (len(row) - 1) for row in rows]
    width = min(max_width, max(left + max(widths) + _MARGIN, heading + 2 * _MARGIN))
    sheet = Image.new('RGB', (width, top + row_height * len(rows)), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    _draw_heading(draw, title, legend, title_font, font, palette, width - 2 * _MARGIN)
    for number, row in enumerate(rows):
        y, x = top + number * row_height, left
        for index, line in enumerate(lines):
            middle = y + index * (cell_height + _GAP) + cell_height // 2
            draw.text((left - 8, middle), line, _GRAY, font, anchor='rm')
        for i in row:
            sheet.paste(Image.fromarray(columns[i]), (x, y))
            bottom = y + columns[i].shape[0] + 4
            for j, text in enumerate(entries[i].caption.split('\n')):
                text = _shorten(text, columns[i].shape[1], font)
                color = _GRAY if j else _INK
                draw.text((x, bottom + j * line_height), text, color, font)
            x += columns[i].shape[1] + _MARGIN
    return np.asarray(sheet)


def _column(
    entry: SheetEntry,
    lines: list[str],
    cell_height: int,
    widest: int,
    palette: Sequence[Sequence[int]],
) -> np.ndarray:
    """The cells of one image, one above the other."""
    image = entry.image
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise MMCosegError(f'images must be (H, W, 3) uint8, got {image.shape} {image.dtype}')
    height, width = image.shape[:2]
    # A panorama is made lower, a thin image gets the room its caption needs.
    scale = min(cell_height / height, min(3 * cell_height, widest) / width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    image = cv2.resize(image, size[::-1], interpolation=method)
    masks = dict(truth=entry.truth, prediction=entry.prediction)
    cells = []
    for line in lines:
        if line == 'image':
            picture = image
        elif masks[line] is None:
            picture = np.full_like(image, 235)  # nothing known: a blank cell, not a black one
        else:
            picture = overlay(image, masks[line], palette)
        cell = np.full((cell_height, max(size[1], min(80, widest)), 3), 255, np.uint8)
        y, x = ((a - b) // 2 for a, b in zip(cell.shape, size, strict=False))
        cell[y : y + size[0], x : x + size[1]] = picture
        cells += [cell, np.full((_GAP, cell.shape[1], 3), 255, np.uint8)]
    return np.concatenate(cells[:-1])


def _wrap(widths: list[int], widest: int) -> list[list[int]]:
    """Indices of the images of every row."""
    rows: list[list[int]] = [[]]
    used = 0
    for index, width in enumerate(widths):
        if rows[-1] and used + width > widest:
            rows.append([])
            used = 0
        rows[-1].append(index)
        used += width + _MARGIN
    return rows


def _heading_width(title, legend, title_font, font) -> int:
    names = sum(26 + round(font.getlength(name)) + 14 for name in legend)
    return round(title_font.getlength(title)) + 24 + names


def _draw_heading(draw, title, legend, title_font, font, palette, width) -> None:
    middle = _MARGIN + _TITLE_SIZE // 2
    title = _shorten(title, width, title_font)
    draw.text((_MARGIN, middle), title, _INK, title_font, anchor='lm')
    x = _MARGIN + round(title_font.getlength(title)) + 24
    for index, name in enumerate(legend):
        draw.rectangle((x, middle - 6, x + 16, middle + 6), tuple(palette[index % len(palette)]))
        draw.text((x + 22, middle), name, _INK, font, anchor='lm')
        x += 26 + round(font.getlength(name)) + 14


def _shorten(text: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + '...') > width:
        text = text[:-1]
    return text + '...'
