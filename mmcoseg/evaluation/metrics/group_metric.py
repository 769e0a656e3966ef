"""What all metrics on groups share."""

import json
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object
from mmengine.evaluator import BaseMetric

from ...errors import MMCosegError
from ..report import TABLE_FORMATS

__all__ = ['GroupMetric', 'mask_pair', 'pixels_of', 'to_array']


class GroupMetric(BaseMetric):
    """A metric that scores image by image and keeps one result a group.

    Args:
        out_file: json file to write. None: not written.
        format: of the table in the log: ``'text'``, or ``'markdown'`` to paste it into a page.
        collect_device, prefix, collect_dir: as for every metric of mmengine.

    Raises:
        MMCosegError: if the format is unknown; while scoring, naming the image, what
            :meth:`score_image` raises.
    """

    # Not None, for which mmengine warns in every run: the figures need no prefix.
    default_prefix = ''

    def __init__(
        self,
        out_file: str | None = None,
        format: str = 'text',
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        if format not in TABLE_FORMATS:
            raise MMCosegError(f'format must be one of {TABLE_FORMATS}, got {format!r}')
        self.out_file = out_file
        self.format = format

    @abstractmethod
    def score_image(self, sample: Any, group: Any) -> Any:
        """What is kept of an image: little, plain types or arrays.

        Args:
            sample: data element, or, from other callers than mmengine's loops, dict; both have
                ``get``.
            group: its group, likewise.

        Raises:
            MMCosegError: with a message that follows the image's name.
        """

    def process(self, data_batch: Any, data_samples: Sequence[Any]) -> None:
        """Score the images of a batch of groups; one result a group is kept.

        Args:
            data_batch: not used.
            data_samples: groups with predictions, :class:`~mmcoseg.structures.GroupDataSample`
                or the dicts that mmengine's evaluator makes of them.
        """
        for group in data_samples:
            self.results.append([self._record(sample, group) for sample in group.get('samples')])

    def _record(self, sample: Any, group: Any) -> dict:
        name, stem = sample.get('group'), sample.get('stem')
        try:
            scores = self.score_image(sample, group)
        except ValueError as error:
            text = str(error)
            separator = '' if text.startswith(':') else ' '
            raise MMCosegError(f'{name}/{stem}{separator}{text}') from error
        return dict(group=name, stem=stem, source=sample.get('img_path'), scores=scores)

    def evaluate(self, size: int) -> dict:
        """Collect the results of all processes and compute.

        mmengine would cut what it collects to ``size``, on the belief that the copies with which
        samplers pad stand at its end; so everything is collected, and the report knows copies.
        """
        return super().evaluate(sum(all_gather_object(len(self.results))))

    def _write(self, content: dict) -> None:
        if self.out_file is not None:
            path = Path(self.out_file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content, indent=1), encoding='utf-8')


def to_array(data: Any) -> np.ndarray:
    """A tensor or array, on the CPU."""
    return data.detach().cpu().numpy() if isinstance(data, torch.Tensor) else np.asarray(data)


def pixels_of(sample: Any, field: str) -> np.ndarray:
    """The array of a pixel field of one image, on the CPU.

    Raises:
        MMCosegError: with a message that follows the image's name, if it does not have the field.
    """
    pixels = sample.get(field)
    if pixels is None:
        if field == 'gt_sem_seg':
            raise MMCosegError(
                'has no ground truth to score against; add its mask to the data set, or predict '
                'without an evaluator'
            )
        raise MMCosegError(
            f'has no {field} to score; use a segmentor that sets it, or a metric or protocol that '
            'scores something else'
        )
    return to_array(pixels.get('data'))


def mask_pair(sample: Any) -> tuple[np.ndarray, np.ndarray]:
    """The predicted and the true mask of one image, (H, W) each.

    Raises:
        MMCosegError: as :func:`pixels_of`, and if their sizes differ.
    """
    gt = pixels_of(sample, 'gt_sem_seg')[0]
    pred = pixels_of(sample, 'pred_sem_seg')[0]
    if pred.shape != gt.shape:
        raise MMCosegError(
            f': the predicted mask is {pred.shape}, the ground truth {gt.shape}; load masks '
            'after Resize in the test pipeline'
        )
    return pred, gt
