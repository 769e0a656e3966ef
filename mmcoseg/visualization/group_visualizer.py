"""The visualizer of groups: contact sheets of images, truth and predictions."""

import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import master_only
from mmengine.visualization import Visualizer
from PIL import Image

from ..errors import MMCosegError
from ..evaluation.class_report import ClassReport, GroupClassScore, class_names_of, count_labels
from ..evaluation.functional import image_scores
from ..registry import VISUALIZERS
from ..structures import CoSegDataSample, GroupDataSample
from ..structures.coseg_data_sample import VOID
from .contact_sheet import PALETTE, SheetEntry, contact_sheet

__all__ = ['GroupVisualizer', 'group_file_name']


def group_file_name(group: str) -> str:
    """A file name, without suffix, for a group of any name; different for different groups.

    Example:
        >>> group_file_name('car+person'), group_file_name('what/ever?')
        ('car+person', 'what_ever_-8f54b18a')
    """
    safe = re.sub(r'[^\w+.-]|^\.', '_', group) or '_'
    if safe == group:
        return group
    return f'{safe}-{hashlib.sha1(group.encode()).hexdigest()[:8]}'


@VISUALIZERS.register_module()
class GroupVisualizer(Visualizer):
    """Draws a group as a contact sheet: every image above its true and its predicted mask.

    Sheets are given to the visualization backends (under the group's name) and written to a
    folder as ``<group>.jpg``; large groups make several, ``<group>~2.jpg`` and so on
    (no group's own file name has a ``~``).

    Args:
        name, vis_backends, save_dir: as for mmengine's ``Visualizer``.
        max_images: of one sheet.
        cell_height: of every picture, in pixels.
        max_width: of a sheet, in pixels.
        palette: RGB of mask values 1, 2, ... and of instances.

    Raises:
        MMCosegError: if ``max_images`` is not positive.

    Example:
        >>> visualizer = GroupVisualizer(max_images=20)
        >>> visualizer.add_datasample('cat', images, group)  # doctest: +SKIP
    """

    def __init__(
        self,
        name: str = 'visualizer',
        vis_backends: list[dict] | None = None,
        save_dir: str | None = None,
        max_images: int = 40,
        cell_height: int = 150,
        max_width: int = 1400,
        palette: Sequence[Sequence[int]] = PALETTE,
        **kwargs: Any,
    ) -> None:
        super().__init__(name, vis_backends=vis_backends, save_dir=save_dir, **kwargs)
        if max_images < 1:
            raise MMCosegError(f'max_images must be at least 1, got {max_images}')
        self.max_images = max_images
        self.cell_height = cell_height
        self.max_width = max_width
        self.palette = [tuple(color) for color in palette]

    def draw_group(
        self,
        images: Sequence[np.ndarray],
        data_sample: GroupDataSample,
        draw_gt: bool = True,
        draw_pred: bool = True,
    ) -> list[np.ndarray]:
        """The sheets of a group.

        Args:
            images: of the group, in order, each (H, W, 3) uint8 RGB at any resolution.
            data_sample: the group, with ground truth and predictions where known. Where an image
                has instances, these are shown, in a color each, and the mask otherwise. Where
                the true masks tell classes apart, predicted ones are matched to them over the
                group, as for scoring, and have the color of their class.
            draw_gt: show the ground truth.
            draw_pred: show the prediction.

        Returns:
            Sheets (H, W, 3) uint8 RGB, at most ``max_images`` images on each.

        Raises:
            MMCosegError: if there are not as many images as the group has, or none.
        """
        if len(images) != len(data_sample) or not len(images):
            raise MMCosegError(
                f'group {data_sample.get("group")!r} has {len(data_sample)} images, but '
                f'{len(images)} were given to draw'
            )
        scores = _match(data_sample) if draw_gt and draw_pred else None
        entries = [
            SheetEntry(
                image,
                truth=_mask(sample, 'gt') if draw_gt else None,
                prediction=_recolored(_mask(sample, 'pred'), scores) if draw_pred else None,
                caption=_caption(sample, draw_gt and draw_pred, i, scores),
            )
            for i, (image, sample) in enumerate(zip(images, data_sample, strict=True))
        ]
        pages = math.ceil(len(entries) / self.max_images)
        per_page = math.ceil(len(entries) / pages)  # no last page with a single image
        title = data_sample.get('group', '')
        sheets = []
        for page in range(pages):
            number = f'  ({page + 1} / {pages})' if pages > 1 else ''
            sheets.append(
                contact_sheet(
                    entries[page * per_page : (page + 1) * per_page],
                    title + number,
                    cell_height=self.cell_height,
                    max_width=self.max_width,
                    palette=self.palette,
                    legend=self._class_names(data_sample, entries),
                )
            )
        return sheets

    def add_datasample(
        self,
        name: str,
        image: Sequence[np.ndarray],
        data_sample: GroupDataSample,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_dir: str | Path | None = None,
        step: int = 0,
    ) -> None:
        """Draw a group, and show it, or hand it to the backends and write it to files.

        Args:
            name: by which backends and files know the group; usually its own.
            image, data_sample, draw_gt, draw_pred: see :meth:`draw_group`.
            show: open a window instead of writing to backends.
            wait_time: seconds for which a window stays; 0: until a key is pressed.
            out_dir: folder for ``<name>.jpg``; made if missing. None: no files. Every process of
                a distributed run writes its own groups.
            step: number of the training step, for the backends.
        """
        file_name = group_file_name(name)
        for number, sheet in enumerate(self.draw_group(image, data_sample, draw_gt, draw_pred)):
            page = f'{file_name}~{number + 1}' if number else file_name
            if show:
                self._show(sheet, page, wait_time)
            else:
                self.add_image(page, sheet, step)
            if out_dir is not None:
                Path(out_dir).mkdir(parents=True, exist_ok=True)
                Image.fromarray(sheet).save(Path(out_dir) / f'{page}.jpg', quality=88)

    def _class_names(
        self, group: GroupDataSample, entries: Sequence[SheetEntry]
    ) -> tuple[str, ...]:
        """Names of mask values 1..K, if the masks tell classes apart."""
        highest = _highest(entry.truth for entry in entries)
        if highest > 1:
            known = (self.dataset_meta or {}).get('classes', ())
            ids = group.get('label_ids') or ()
            return class_names_of(group.get('group', ''), highest, ids, known)
        # Which class is which only the truth tells.
        highest = _highest(entry.prediction for entry in entries)
        return class_names_of('', highest) if highest > 1 else ()

    @master_only
    def _show(self, sheet: np.ndarray, name: str, wait_time: float) -> None:
        self.show(sheet, win_name=name, wait_time=wait_time)


def _array(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def _mask(sample: CoSegDataSample, kind: str) -> np.ndarray | None:
    """What to show of an image: instances (n, H, W), or else its mask (H, W), or None."""
    instances = sample.get(f'{kind}_instances')
    if instances is not None and 'masks' in instances:
        return _array(instances.masks)
    pixels = sample.get(f'{kind}_sem_seg')
    return None if pixels is None else _array(pixels.data)[0]


def _highest(masks: Iterable[np.ndarray | None]) -> int:
    """The highest value, void apart, of masks (instances have none)."""
    labels = [mask[mask != VOID] for mask in masks if mask is not None and mask.ndim == 2]
    return max((int(values.max(initial=0)) for values in labels), default=0)


def _match(group: GroupDataSample) -> GroupClassScore | None:
    """The scores of a group whose true masks tell classes apart; images go by their numbers."""
    pairs = {str(i): masks for i, sample in enumerate(group) if (masks := _pair(sample))}
    if not any(((gt > 1) & (gt != VOID)).any() for _, gt in pairs.values()):
        return None
    report = ClassReport()
    for number, masks in pairs.items():
        report.add('', number, count_labels(*masks))
    return report.group_scores()['']


def _pair(sample: CoSegDataSample) -> tuple[np.ndarray, np.ndarray] | None:
    """The predicted and the true mask of an image, where both are known at one size."""
    pred, gt = sample.get('pred_sem_seg'), sample.get('gt_sem_seg')
    if pred is None or gt is None or pred.data.shape != gt.data.shape:
        return None
    return _array(pred.data)[0], _array(gt.data)[0]


def _recolored(mask: np.ndarray | None, scores: GroupClassScore | None) -> np.ndarray | None:
    """A predicted mask with the numbers of the true classes; what is nobody's comes after them."""
    if mask is None or scores is None or mask.ndim != 2:
        return mask
    numbers = {score.channel: k for k, score in enumerate(scores.classes, 1)}
    after = len(scores.classes)
    table = [0]
    for channel in range(1, int(mask.max(initial=0)) + 1):
        after += channel not in numbers
        table.append(numbers.get(channel, after))
    return np.array(table)[mask.astype(np.int64)]  # may be bool


def _caption(
    sample: CoSegDataSample, scored: bool, number: int, scores: GroupClassScore | None
) -> str:
    """Name, and below it the scores where both masks are known, at one size."""
    name = str(sample.get('stem', ''))
    masks = _pair(sample) if scored else None
    if masks is None:
        return name
    if scores is None:
        precision, jaccard = image_scores(*masks)
        return f'{name}\nJ {100 * jaccard:.1f}  P {100 * precision:.1f}'
    precision, jaccards = scores.images[str(number)]
    values = ' / '.join('-' if math.isnan(value) else f'{value:.0f}' for value in jaccards)
    return f'{name}\nJ {values}  P {precision:.0f}'
