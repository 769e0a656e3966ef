"""Testing with a simulated person, who corrects a group by clicks."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from mmengine.dist import all_gather_object
from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from mmengine.runner import TestLoop
from scipy import ndimage

from ...compat import unwrapped
from ...evaluation.functional import image_scores
from ...models.ops import mask_of_prob
from ...models.segmentors.hinted_images import least_sure
from ...options import one_of, whole_number
from ...registry import LOOPS
from ...seeding import entropy_of
from ...structures import Click, CoSegDataSample, GroupDataSample, group_sizes_of, to_numpy
from ...structures.coseg_data_sample import VOID

__all__ = ['ClickLoop', 'center_of', 'next_click']

ClickPolicy = Literal['next', 'random', 'worst']
Update = Callable[[], None]

#: J from which an image is good enough, and most clicks on it.
GOOD, MOST_CLICKS = 0.8, 20


@LOOPS.register_module()
class ClickLoop(TestLoop):
    """A test in which a simulated person clicks on errors, and every click counts for the group.

    Each group is segmented without clicks; then the person clicks on one image after the other.
    After each click the group is segmented anew (``segmentor.updater``), and after some numbers of
    clicks it is scored. A click is in the center of the image's largest error; see
    :func:`next_click`. An image gets its second click when all have one or are right.

    The results are those of the metrics:

    - ``5_clicks/J`` of all images;
    - ``5_clicks/others/J`` of images without hints, and ``5_clicks/others_before/J``, what these
      had without any click: where images are not clicked on at random, the others are not like all;
    - ``clicks_to_80``: how many clicks on an image itself it takes until its J is 80 %, at most 20,
      as a mean over some images of each group, each of which starts without clicks.

    The file of a metric's ``out_file`` gets these names at its end.

    Args:
        runner, dataloader, evaluator: as of mmengine's ``TestLoop``; the metrics are of groups.
        report: numbers of clicks after which all is scored, beside none.
        policy: which image is clicked on: ``'next'``, of whose answer the model is least sure;
            ``'worst'``, of the lowest true J, before post-processors; ``'random'``.
        only_negative: click only on what is no object.
        images_to_80: images of each group on which ``clicks_to_80`` is measured; 0 for none.
    """

    def __init__(
        self,
        runner,
        dataloader: dict,
        evaluator: dict | list,
        report: Sequence[int] = (1, 3, 5, 10, 20),
        policy: ClickPolicy = 'next',
        only_negative: bool = False,
        images_to_80: int = 0,
    ) -> None:
        super().__init__(runner, dataloader, evaluator)
        for number in report:
            whole_number('report', number)
        one_of('policy', policy, ClickPolicy)
        whole_number('images_to_80', images_to_80, 0)
        self.report = sorted(report)
        self.policy = policy
        self.only_negative = only_negative
        self.images_to_80 = images_to_80
        self.model = unwrapped(runner.model)
        #: Number of clicks -> name of a result -> the metrics.
        self.evaluators: dict[int, dict[str, Evaluator]] = {}
        for number in (0, *self.report):
            name = f'{number}_clicks'
            self.evaluators[number] = {
                name: self._evaluator(evaluator, name, 'score'),
                f'{name}/others': self._evaluator(evaluator, f'{name}_others', 'skip'),
                f'{name}/others_before': self._evaluator(
                    evaluator, f'{name}_others_before', 'skip'
                ),
            }
        self.clicks_to_80: dict[str, int] = {}

    def _evaluator(self, cfg: dict | list, name: str, hinted_images: str) -> Evaluator:
        """The metrics for one number of clicks, with a file of their own."""
        metrics = []
        for metric in cfg if isinstance(cfg, list) else [cfg]:
            metric = dict(metric, hinted_images=hinted_images)
            if metric.get('out_file'):
                file = Path(metric['out_file'])
                metric['out_file'] = str(file.with_stem(f'{file.stem}_{name}'))
            metrics.append(metric)
        evaluator = self.runner.build_evaluator(metrics)
        evaluator.dataset_meta = self.dataloader.dataset.metainfo
        return evaluator

    def run(self) -> dict[str, float]:
        """Click on all groups and score them; returns the metrics."""
        self.runner.call_hook('before_test')
        self.runner.call_hook('before_test_epoch')
        self.model.eval()
        for number, batch in enumerate(self.dataloader):
            self.runner.call_hook('before_test_iter', batch_idx=number, data_batch=batch)
            data = self.model.data_preprocessor(batch, False)
            groups = data['data_samples']
            for images, group in zip(data['inputs'].split(group_sizes_of(groups)), groups):
                self._run_group(group, self.model.updater(images, group))
            self.runner.call_hook(
                'after_test_iter', batch_idx=number, data_batch=batch, outputs=groups
            )
        metrics = self._collect()
        self.runner.call_hook('after_test_epoch', metrics=metrics)
        self.runner.call_hook('after_test')
        return metrics

    def _run_group(self, group: GroupDataSample, update: Update) -> None:
        """Click on a group and score it; before that on single images, each without the others'."""
        rng = np.random.default_rng(entropy_of(self.runner.seed, group.group))
        for index in sorted(rng.permutation(len(group))[: self.images_to_80].tolist()):
            self.clicks_to_80[group[index].identity] = self._clicks_to_80(group, index, update)
        update()
        self._score(0, group, update)
        counts = [0] * len(group)
        for number in range(1, max(self.evaluators) + 1):
            order = sorted(self._order(group, rng), key=counts.__getitem__)
            self._click_on_one(group, order, counts)
            update()
            if number in self.evaluators:
                self._score(number, group, update)
        print_log(f'group {group.group}: {len(group)} images, {sum(counts)} clicks', 'current')

    def _clicks_to_80(self, group: GroupDataSample, index: int, update: Update) -> int:
        """Number of clicks on an image until its mask is good; these are taken back."""
        given = group[index].get('hints', ())
        count = 0
        while count < MOST_CLICKS:
            update()
            self._finish_image(group, index)
            if image_scores(*_masks_of(group[index]))[1] >= GOOD:
                break
            self._click(group[index])
            count += 1
        if given:
            group[index].hints = given
        elif 'hints' in group[index]:
            del group[index].hints
        return count

    def _order(self, group: GroupDataSample, rng: np.random.Generator) -> list[int]:
        """Indices of the images, the one to click on first."""
        orders = dict(
            next=lambda: least_sure(group),
            worst=lambda: worst_first(group, self.model.threshold),
            random=lambda: rng.permutation(len(group)).tolist(),
        )
        return orders[self.policy]()

    def _click_on_one(
        self, group: GroupDataSample, order: Sequence[int], counts: list[int]
    ) -> None:
        """Click on the first image with an error, if there is one."""
        for index in order:
            self._finish_image(group, index)
            if self._click(group[index]):
                counts[index] += 1
                return

    def _finish_image(self, group: GroupDataSample, index: int) -> None:
        """Make the mask of one image, if that is possible without the others."""
        self.model.finish(group.select([index]) if self.model.by_image else group)

    def _click(self, sample: CoSegDataSample) -> bool:
        """Click on an image, if there is something to click on."""
        click = next_click(*_masks_of(sample), self.only_negative)
        if click is not None:
            sample.hints = (*sample.get('hints', ()), click)
        return click is not None

    def _score(self, number: int, group: GroupDataSample, update: Update) -> None:
        self.model.finish(group)
        everything, others, before = self.evaluators[number].values()
        everything.process(data_samples=[group])
        others.process(data_samples=[group])
        start = next(iter(self.evaluators[0].values()))
        for first, now, result in zip(start.metrics, others.metrics, before.metrics):
            stems = {record['stem'] for record in now.results[-1]}
            kept = [record for record in first.results[-1] if record['stem'] in stems]
            result.results.append(kept)
        update()  # for the next click: masks are made of soft maps by changing these

    def _collect(self) -> dict[str, float]:
        """The figures of all groups, and a line in the log about each number of clicks."""
        results, lines = {}, []
        for evaluators in self.evaluators.values():
            for name, evaluator in evaluators.items():
                print_log(name, 'current')
                found = evaluator.evaluate(len(self.dataloader.dataset))
                results |= {f'{name}/{key}': value for key, value in found.items()}
                figures = ', '.join(f'{key} {value:.2f}' for key, value in found.items())
                lines.append(f'{name}: {figures}')
        for counts in all_gather_object(self.clicks_to_80):
            self.clicks_to_80.update(counts)
        if self.clicks_to_80:
            results['clicks_to_80'] = float(np.mean(list(self.clicks_to_80.values())))
            lines.append(f'clicks to J 80 on an image itself: {results["clicks_to_80"]:.2f}')
        print_log('\n'.join(['results by number of clicks', *lines]), 'current')
        return results


def worst_first(group: GroupDataSample, threshold: float | str) -> list[int]:
    """Indices of a group's images, from that of the lowest J on, of masks as the maps are."""
    jaccards = []
    for sample in group:
        gt = to_numpy(sample.gt_sem_seg.data[0])
        mask = mask_of_prob(sample.pred_prob.data, gt.shape, threshold)
        jaccards.append(image_scores(to_numpy(mask[0]), gt)[1])
    return np.argsort(jaccards, kind='stable').tolist()


def next_click(pred: np.ndarray, gt: np.ndarray, only_negative: bool = False) -> Click | None:
    """A click in the center of the largest connected region of a mask that is wrong.

    In a region all pixels have one true label, which is the click's. Void pixels are never wrong.

    Args:
        pred, gt: (H, W), labels; in ``gt`` 255 is void.
        only_negative: look only at pixels that are no object.

    Returns:
        The click; None if nothing is wrong.

    Example:
        >>> next_click(np.zeros((5, 9)), np.pad(np.ones((3, 3)), ((1, 1), (1, 5))))
        Click(label=1, x=2.5, y=2.5)
    """
    wrong = (pred != gt) & (gt != VOID)
    largest, label = np.zeros_like(wrong), 0
    for true_label in [0] if only_negative else np.unique(gt[wrong]).tolist():
        regions, count = ndimage.label(wrong & (gt == true_label))
        areas = np.bincount(regions.ravel(), minlength=count + 1)
        areas[0] = 0
        if areas.max() > largest.sum():
            largest, label = regions == areas.argmax(), int(true_label)
    if not largest.any():
        return None
    x, y = center_of(largest)
    return Click(x, y, label=label)


def center_of(region: np.ndarray) -> tuple[float, float]:
    """The middle (x, y) of the pixel of a region (H, W) that is farthest from its edges.

    The image's border is an edge, too.
    """
    distance = cv2.distanceTransform(np.pad(region, 1).astype(np.uint8), cv2.DIST_L2, 5)
    row, column = np.unravel_index(distance[1:-1, 1:-1].argmax(), region.shape)
    return float(column) + 0.5, float(row) + 0.5


def _masks_of(sample: CoSegDataSample) -> tuple[np.ndarray, np.ndarray]:
    """The predicted and the true mask, (H, W) each."""
    return to_numpy(sample.pred_sem_seg.data[0]), to_numpy(sample.gt_sem_seg.data[0])
