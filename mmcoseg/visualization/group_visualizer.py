"""The visualizer of groups: contact sheets of images, truth and predictions."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.visualization import Visualizer
from PIL import Image

from ..evaluation.class_report import ClassReport, GroupClassScore, class_names_of, count_labels
from ..evaluation.functional import image_scores
from ..files import file_name_of, save_image
from ..registry import VISUALIZERS
from ..structures import CoSegDataSample, GroupDataSample, to_numpy
from ..structures.coseg_data_sample import VOID
from .contact_sheet import SheetEntry, contact_sheet

__all__ = ['GroupVisualizer']

_IMAGES_A_SHEET = 40


@VISUALIZERS.register_module()
class GroupVisualizer(Visualizer):
    """Draws a group as a contact sheet: every image above its true and its predicted mask.

    Sheets go to the visualization backends, under the group's name, and to a folder as
    ``<group>.jpg``; further sheets of a large group are called ``<group>~2.jpg`` and so on.

    Args:
        name, vis_backends, save_dir, ...: as for mmengine's ``Visualizer``.
    """

    def draw_group(
        self, images: Sequence[np.ndarray], data_sample: GroupDataSample
    ) -> list[np.ndarray]:
        """The sheets of a group, (H, W, 3) uint8 RGB, with at most 40 images on each.

        Images with instances show these, each in its own color; other images show their mask. If
        the true masks tell classes apart, predicted classes are matched to them over the group, as
        for scoring, and get the color of their class.

        Args:
            images: of the group, in order, each (H, W, 3) uint8 RGB at any resolution.
            data_sample: the group, with ground truth and predictions if known.
        """
        group = data_sample.group
        entries = []
        for image, sample in zip(images, data_sample, strict=True):
            truth, prediction = _mask(sample, 'gt'), _mask(sample, 'pred')
            entries.append(SheetEntry(image, truth, prediction, sample.stem))
        _compare(entries, data_sample)
        legend = self._class_names(data_sample, entries)
        pages = math.ceil(len(entries) / _IMAGES_A_SHEET)
        sheets = []
        # Of about equal length: no last page with a single image.
        for page, numbers in enumerate(np.array_split(range(len(entries)), pages), 1):
            title = f'{group}  ({page} / {pages})' if pages > 1 else group
            sheets.append(contact_sheet([entries[i] for i in numbers], title, legend))
        return sheets

    def add_datasample(
        self,
        name: str,
        image: Sequence[np.ndarray],
        data_sample: GroupDataSample,
        out_dir: str | Path | None = None,
        step: int = 0,
    ) -> None:
        """Draw a group, hand it to the backends and write it to files.

        Args:
            name: of the group, for backends and files; usually its own.
            image, data_sample: see :meth:`draw_group`.
            out_dir: folder for ``<name>.jpg``, created if needed. None: no files.
            step: number of the training step, for the backends.
        """
        for number, sheet in enumerate(self.draw_group(image, data_sample)):
            page = f'{name}~{number + 1}' if number else name
            # No first sheet has the name of another group's later sheet.
            reserved = {name, f'{name}.jpg'} if '~' in name and not number else ()
            self.add_image(file_name_of(page, reserved=reserved), sheet, step)
            if out_dir is not None:
                file = Path(out_dir) / file_name_of(page, '.jpg', reserved)
                save_image(Image.fromarray(sheet), file, 'JPEG', quality=88)

    def _class_names(self, group: GroupDataSample, entries: list[SheetEntry]) -> tuple[str, ...]:
        """Names of mask values 1..K, if the masks tell classes apart."""
        true = max(_highest(entry.truth) for entry in entries)
        found = max(_highest(entry.prediction) for entry in entries)
        if max(true, found) <= 1:
            return ()
        if true <= 1:  # without a truth, no one knows which class is which
            return class_names_of('', found)
        known = (self.dataset_meta or {}).get('classes', ())
        return class_names_of(group.group, true, group.get('label_ids', ()), known)


def _mask(sample: CoSegDataSample, kind: str) -> np.ndarray | None:
    """What to show of an image: instances (n, H, W), or else its mask (H, W), or None."""
    if 'masks' in sample.get(f'{kind}_instances', ()):
        return to_numpy(sample.get(f'{kind}_instances').masks)
    return _labels(sample, kind)


def _labels(sample: CoSegDataSample, kind: str) -> np.ndarray | None:
    pixels = sample.get(f'{kind}_sem_seg')
    return None if pixels is None else to_numpy(pixels.data)[0]


def _highest(mask: np.ndarray | None) -> int:
    """The highest value of a mask, without void; 0 for instances."""
    return int(mask[mask != VOID].max(initial=0)) if np.ndim(mask) == 2 else 0


def _compare(entries: list[SheetEntry], group: GroupDataSample) -> None:
    """Add scores to the entries of images whose predicted and true masks have one size."""
    pairs = {}
    for number, sample in enumerate(group):
        masks = _labels(sample, 'pred'), _labels(sample, 'gt')
        # The shape of a mask that is not there is empty.
        if np.shape(masks[0]) == np.shape(masks[1]) != ():
            pairs[number] = masks
    if any(_highest(gt) > 1 for _, gt in pairs.values()):
        _compare_classes(entries, pairs)
        return
    for number, masks in pairs.items():
        precision, jaccard = image_scores(*masks)
        entries[number].caption += f'\nJ {100 * jaccard:.1f}  P {100 * precision:.1f}'


def _compare_classes(
    entries: list[SheetEntry], pairs: dict[int, tuple[np.ndarray, np.ndarray]]
) -> None:
    """The same for several classes; predicted ones also get the numbers of the true ones."""
    report = ClassReport()
    for number, masks in pairs.items():
        report.add('', str(number), count_labels(*masks))
    scores = report.group_scores()['']
    for number, (precision, jaccards) in scores.images.items():
        values = ' / '.join('-' if math.isnan(value) else f'{value:.0f}' for value in jaccards)
        entries[int(number)].caption += f'\nJ {values}  P {precision:.0f}'
    for entry in entries:
        if np.ndim(entry.prediction) == 2:
            entry.prediction = _recolored(entry.prediction, scores)


def _recolored(mask: np.ndarray, scores: GroupClassScore) -> np.ndarray:
    """A predicted mask with the numbers of the true classes; other channels come after them."""
    matched = [score.channel for score in scores.classes]
    others = sorted(set(range(1, int(mask.max(initial=0)) + 1)).difference(matched))
    table = np.zeros(256, np.int64)
    for number, channel in enumerate([*matched, *others], 1):
        table[channel or 0] = number  # a class without a channel has none to recolor
    table[0] = 0
    return table[mask.astype(np.int64)]  # may be bool
