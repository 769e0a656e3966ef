"""What all metrics of groups share."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Literal

import numpy as np
from mmengine.dist import all_gather_object
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from ...errors import MMCosegError, naming
from ...files import write_json
from ...options import one_of
from ...structures import to_numpy
from ..report import Report

__all__ = ['GroupMetric', 'mask_pair', 'pixels_of']

HintedImages = Literal['score', 'skip']


class GroupMetric(BaseMetric):
    """A metric that scores image by image and keeps one result per group.

    Subclasses give the table's ``title``, the empty report (:meth:`new_report`) and what is added
    to it for each image (:meth:`score_image`).

    Args:
        out_file: json file for the scores of all images, keyed ``group/stem``. None: not written.
        hinted_images: ``'skip'`` leaves out images with hints on them, as k-shot protocols do.
        **kwargs: ``collect_device``, ``prefix`` and ``collect_dir``, as for every metric of
            mmengine.

    Raises:
        MMCosegError: while scoring, what :meth:`score_image` raises, with the image's name.
    """

    # Not None, for which mmengine warns in every run: the figures need no prefix.
    default_prefix = ''
    title = ''

    def __init__(
        self, out_file: str | None = None, hinted_images: HintedImages = 'score', **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        one_of('hinted_images', hinted_images, HintedImages)
        self.dataset_meta = {}  # until the evaluator says more
        self.out_file = out_file
        self.skips_hinted = hinted_images == 'skip'

    @abstractmethod
    def new_report(self) -> Report:
        """A report without images."""

    @abstractmethod
    def score_image(self, sample: Any, group: Any) -> Any:
        """What is kept of an image: little, plain types or arrays.

        Args:
            sample: of the image, a data element or its dict; both have ``get``.
            group: its group, likewise.

        Raises: MMCosegError: with a message that follows the image's name.
        """

    def process(self, data_batch: Any, data_samples: Sequence[Any]) -> None:
        """Keep one result per group; ``data_samples`` are groups or their dicts."""
        for group in data_samples:
            records = []
            for sample in group.get('samples'):
                if not (self.skips_hinted and sample.get('hints')):
                    records.append(self._record(sample, group))
            self.results.append(records)

    def _record(self, sample: Any, group: Any) -> dict:
        """What :meth:`Report.add` takes of an image."""
        name, stem = sample.get('group'), sample.get('stem')
        with naming(f'{name}/{stem}'):
            scores = self.score_image(sample, group)
        return dict(group=name, stem=stem, scored=scores, source=sample.get('img_path'))

    def evaluate(self, size: int) -> dict:
        """Compute from the results of all processes."""
        # mmengine would cut them to `size`, where it expects copies. The report recognizes copies.
        return super().evaluate(sum(all_gather_object(len(self.results))))

    def compute_metrics(self, results: list[list[dict]]) -> dict[str, float]:
        """Figures of what :meth:`process` kept; logs the table and writes ``out_file``."""
        report = self._report(chain.from_iterable(results), self.title)
        self._write(report.to_dict())
        return report.summary()

    def _report(self, images: Iterable[dict], title: str) -> Report:
        """The report on what was kept of images; it is logged."""
        report = self.new_report()
        for image in images:
            report.add(**image)
        print_log(f'\n{report.table(title)}', logger='current')
        return report

    def _write(self, content: dict) -> None:
        if self.out_file is not None:
            write_json(self.out_file, content, indent=1)


def pixels_of(sample: Any, field: str) -> np.ndarray:
    """The array of a pixel field of one image; refuses an image that does not have it."""
    if sample.get(field) is not None:
        return to_numpy(sample.get(field).get('data'))
    if field == 'gt_sem_seg':
        raise MMCosegError(
            'it has no ground truth to score against; add its mask to the data set, or predict '
            'without an evaluator'
        )
    raise MMCosegError(
        f'it has no {field} to score; use a segmentor that sets it, or a metric or protocol that '
        'scores something else'
    )


def mask_pair(sample: Any) -> tuple[np.ndarray, np.ndarray]:
    """The predicted and the true mask of one image, (H, W) each."""
    gt = pixels_of(sample, 'gt_sem_seg')[0]
    return pixels_of(sample, 'pred_sem_seg')[0], gt
