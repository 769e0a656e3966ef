"""The report: one page with all images, that needs no other file and no network."""

import base64
import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import cycle
from operator import attrgetter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image

from ..files import display_name
from ..visualization import PALETTE
from .records import GroupRecord, ImageRecord, images_of

__all__ = ['THUMBNAIL_SIDE', 'build_report', 'show_time']

#: Longer side of the thumbnails that are kept for the report, in pixels.
THUMBNAIL_SIDE = 480
#: Longer sides of the pictures in a report: the largest that keeps it small enough.
_SIDES = (THUMBNAIL_SIDE, 400, 320, 240, 180, 130, 96)
#: Bytes of all pictures of a report, about.
_BUDGET = 54e6
#: The largest number of images with pictures; the others are listed.
_MAX_PICTURES = 10_000
#: Bytes of text for a byte of a picture.
_BASE64 = 4 / 3
_KINDS = ('image', 'mask', 'overlay')
_FOLDER = Path(__file__).parent


def show_time(seconds: float, each: float) -> str:
    """What a run took, and what each of its images did: the same on the terminal and the page."""
    return f'{seconds:.1f} s, {each:.2f} s per image'


def build_report(
    groups: Sequence[GroupRecord],
    summary: dict[str, Any],
    out_dir: str | Path,
    cache: dict | None = None,
) -> Iterator[str]:
    """The text of the page, piece by piece.

    Pictures are made from the thumbnails of the records, smaller ones the more images there are:
    480 pixels up to some 500 images, about 320 for 1,000, so that the page stays below some 60 MB.

    Args:
        groups: in order.
        summary: content of ``summary.json`` of the same groups.
        out_dir: folder of the thumbnails.
        cache: kept between calls, saves making the same pictures again.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        shown=lambda value: display_name(str(value)),
        percent=_percent,
        url=lambda path: quote(os.fsencode(path)),
    )
    template = environment.from_string(_text('report.html.j2'))
    records = images_of(groups)
    side = _side_of(records, Path(out_dir))
    pictures = _Pictures(Path(out_dir), side, {} if cache is None else cache)
    script, style = (Markup(_text(name)) for name in ('report.js', 'report.css'))
    yield from template.generate(
        summary=summary,
        numbers=_numbers(summary['totals']),
        groups=[_group(group, number) for number, group in enumerate(groups, start=1)],
        per_group=max(1, _MAX_PICTURES // max(1, len(groups))),
        left_out=list(_left_out(groups, summary['settings'].get('presence_threshold'))),
        with_presence=any(record.presence is not None for record in records),
        with_sureness=any(record.sureness is not None for record in records),
        pictures=pictures,
        class_areas=_class_areas,
        # Nothing but this script and style and embedded pictures may load or run.
        script=script,
        style=style,
        script_hash=_hash(script),
        style_hash=_hash(style),
    )


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding='utf-8')


def _hash(text: str) -> str:
    return 'sha256-' + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _percent(share: float) -> str:
    if 0 < share < 0.01:
        return f'{100 * share:.2g} %'
    if 0.99 < share < 1:
        return '> 99 %'
    return f'{100 * share:.0f} %'


#: Figures for the head of the page: key in the totals -> what it is, and its text.
_FIGURES = dict(
    num_images=('images', str),
    groups=('groups', str),
    num_absent=('absent', str),
    num_empty=('empty masks', str),
    num_skipped=('skipped files', str),
    num_warnings=('warnings', str),
    mean_presence=('mean presence', '{:.2f}'.format),
    mean_area_share=('mean area', _percent),
)


def _numbers(totals: dict[str, Any]) -> list[tuple[str, str]]:
    """The figures and their texts, without those that say nothing."""
    shown = []
    for key, (label, show) in _FIGURES.items():
        if totals[key] or key in ('num_images', 'groups'):
            shown.append((label, show(totals[key])))
    if totals['seconds']:
        shown.append(('time', show_time(totals['seconds'], totals['seconds_an_image'])))
    return shown


def _group(group: GroupRecord, number: int) -> dict[str, Any]:
    # Unknown sureness comes last, the same goes by name.
    records = sorted(group.images, key=lambda r: (r.sureness is None, r.sureness, r.file_name))
    return dict(
        id=f'group-{number}',
        name=group.name,
        records=records,
        legend=_legend(records),
        class_count=group.class_count and group.class_count['text'],
        num_absent=sum(record.absent for record in records),
        num_skipped=len(group.skipped),
    )


def _class_areas(record: ImageRecord) -> list[tuple[str, str, float]]:
    """Name, color and share of the image of each class, where masks tell several apart."""
    if len(record.classes) < 2:
        return []
    areas = [0] * len(record.classes)
    for annotation in record.annotations:
        areas[annotation['label'] - 1] += annotation['area']
    pixels = max(1, record.height * record.width)
    shown = []
    for name, color, area in zip(record.classes, cycle(PALETTE), areas):
        shown.append((name, '#' + bytes(color).hex(), min(1.0, area / pixels)))
    return shown


def _legend(records: Sequence[ImageRecord]) -> list[tuple[str, str, int, float]]:
    """Name and color of each class of a group, in how many images it was found, and the mean of
    its share of these."""
    shares: dict[tuple[str, str], list[float]] = {}
    for record in records:
        for name, color, share in _class_areas(record):
            shares.setdefault((name, color), []).append(share)
    legend = []
    for (name, color), found in shares.items():
        count = sum(map(bool, found))
        legend.append((name, color, count, sum(found) / max(1, count)))
    return legend


def _left_out(
    groups: Sequence[GroupRecord], threshold: float | None
) -> Iterator[tuple[str, str, str, str]]:
    """Group, file, what happened and why, of files without a mask."""
    for group in groups:
        for file in group.skipped:
            yield group.name, file.file_name, 'skipped', file.reason
        for record in filter(attrgetter('absent'), group.images):
            reason = 'the common object was not found in it'
            if record.review == 'rejected':
                reason = 'somebody said in the review that it does not show the object'
            elif record.hints and record.presence == 0:
                reason = 'a hint says that it does not show the object'
            elif None not in (record.presence, threshold):
                reason = f'presence {record.presence:.2f}, below the threshold {threshold:g}'
            yield group.name, record.name, 'absent', reason


def _side_of(records: Sequence[ImageRecord], out_dir: Path) -> int:
    """The largest side at which all pictures stay within the budget, judged by a sample."""
    sample = []  # bytes of an image's pictures, and their longer side
    for record in records[:: max(1, len(records) // 200)]:
        try:
            files = [out_dir / record.thumbnails[kind] for kind in _KINDS]
            longest = max(1, min(THUMBNAIL_SIDE, max(record.height, record.width)))
            sample.append((sum(file.stat().st_size for file in files), longest))
        except (OSError, KeyError):
            continue
    count = min(len(records), _MAX_PICTURES) / max(1, len(sample))
    for side in _SIDES:
        # The bytes of a JPEG file fall more slowly than its area.
        shrunk = sum(size * min(1, side / longest) ** 1.6 for size, longest in sample)
        if count * _BASE64 * shrunk <= _BUDGET:
            break
    return side


class _Pictures:
    """Pictures of records as addresses that hold them; made as the page is written."""

    def __init__(self, out_dir: Path, side: int, cache: dict) -> None:
        self.out_dir = out_dir
        self.side = side
        self.cache = cache
        if cache.get('side') != side:
            cache.clear()
            cache['side'] = side

    def size_of(self, record: ImageRecord) -> tuple[int, int]:
        """Width and height of the record's pictures."""
        factor = min(1.0, self.side / max(record.height, record.width, 1))
        return max(1, round(factor * record.width)), max(1, round(factor * record.height))

    def __call__(self, record: ImageRecord) -> list[tuple[str, str]]:
        """Kind and address of each picture; none if a thumbnail is not there any more."""
        try:
            return [(kind, self._address(record.thumbnails[kind], record)) for kind in _KINDS]
        except (OSError, KeyError):
            return []

    def _address(self, file: str, record: ImageRecord) -> str:
        path = self.out_dir / file
        status = path.stat()
        key = file, status.st_mtime_ns, status.st_size
        if key not in self.cache:
            data = path.read_bytes()
            if self.side < THUMBNAIL_SIDE:
                data = _shrink(data, self.size_of(record))
            kind = 'png' if file.endswith('.png') else 'jpeg'
            self.cache[key] = f'data:image/{kind};base64,{base64.b64encode(data).decode()}'
        return self.cache[key]


def _shrink(data: bytes, size: tuple[int, int]) -> bytes:
    picture, out = Image.open(BytesIO(data)), BytesIO()
    if math.prod(size) >= math.prod(picture.size):
        return data
    if picture.format == 'PNG':  # a mask, whose values stay
        picture.resize(size, Image.Resampling.NEAREST).save(out, 'PNG', optimize=True)
    else:
        picture.draft(picture.mode, size)
        picture.resize(size, Image.Resampling.BOX).save(out, 'JPEG', quality=78)
    return out.getvalue()
