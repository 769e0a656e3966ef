"""Time to score as many images as the PASCAL-VOC co-segmentation set has.

Made-up masks with blobs of natural size and maps at the network's resolution; the time covers
all that stands between a network's soft maps and the table: resizing to the original size,
cutting, both protocols of ``CoSegMetric``. The baseline scores the same masks by scikit-learn's
``accuracy_score`` and ``jaccard_score``, image by image.

    python benchmarks/scoring.py
"""

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.structures import PixelData
from sklearn.metrics import accuracy_score, jaccard_score

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from _table import ratio_table

from mmcoseg.evaluation import CoSegMetric
from mmcoseg.structures import CoSegDataSample, GroupDataSample

SIZE = (375, 500)
NETWORK_SIZE = (224, 224)


def made_up_images(number: int, num_groups: int = 20) -> list[GroupDataSample]:
    """Groups of images with a true mask with a void rim and a soft map, of ``number`` images."""
    rng = np.random.default_rng(0)
    groups: list[list[CoSegDataSample]] = [[] for _ in range(num_groups)]
    for i in range(number):
        noise = cv2.GaussianBlur(rng.random(NETWORK_SIZE, np.float32), (0, 0), 20)
        prob = (noise - noise.min()) / np.ptp(noise)
        shifted = cv2.resize(np.roll(prob, 10, axis=1), SIZE[::-1])
        truth = (shifted > 0.55).astype(np.int64)
        truth[np.abs(shifted - 0.55) < 0.01] = 255
        group = i % num_groups
        sample = CoSegDataSample(
            metainfo=dict(group=f'{group:02d}', stem=f'{i:04d}', ori_shape=SIZE)
        )
        sample.gt_sem_seg = PixelData(data=torch.from_numpy(truth[None]))
        sample.pred_prob = PixelData(data=torch.from_numpy(prob[None]))
        groups[group].append(sample)
    return [
        GroupDataSample(samples, metainfo=dict(group=f'{number:02d}'))
        for number, samples in enumerate(groups)
    ]


def mask_back(sample: CoSegDataSample) -> np.ndarray:
    """The mask at the original size, as a segmentor makes it."""
    return cv2.resize(sample.pred_prob.data[0].numpy(), SIZE[::-1]) > 0.5


def with_metric(groups: list[GroupDataSample], protocol: str) -> dict:
    evaluator = Evaluator(CoSegMetric(protocol=protocol))
    for group in groups:
        if protocol == 'native':
            for sample in group:
                mask = torch.from_numpy(mask_back(sample).astype(np.uint8)[None])
                sample.pred_sem_seg = PixelData(data=mask)
        evaluator.process([group])
    return evaluator.evaluate(len(groups))


def with_scikit_learn(groups: list[GroupDataSample]) -> float:
    """The image mean of J, for the comparison."""
    scores = []
    for group in groups:
        for sample in group:
            truth = sample.gt_sem_seg.data[0].numpy()
            counted = truth != 255
            truth, pred = truth[counted] != 0, mask_back(sample)[counted]
            scores.append((accuracy_score(truth, pred), jaccard_score(truth, pred)))
    return 100 * float(np.mean(scores, axis=0)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--images', type=int, default=1037, help='number of images')
    args = parser.parse_args()
    MMLogger.get_instance('scoring', log_level='WARNING')  # keeps the metric's table away
    groups = made_up_images(args.images)

    times, figures = {}, {}
    for name, call in {
        'scikit-learn, image by image': lambda: with_scikit_learn(groups),
        'CoSegMetric, native': lambda: with_metric(groups, 'native')['J_image'],
        'CoSegMetric, ssnm-224': lambda: with_metric(groups, 'ssnm-224')['J_image'],
    }.items():
        start = time.perf_counter()
        figures[name] = call()
        times[name] = time.perf_counter() - start
    baseline, native, _ = figures
    if not np.isclose(figures[baseline], figures[native]):
        raise SystemExit(f'the two ways disagree on J: {figures}')
    print(f'{args.images} images of {SIZE[1]} x {SIZE[0]}, maps of {NETWORK_SIZE[0]}, once each')
    print(ratio_table(times, baseline, unit='s'))


if __name__ == '__main__':
    main()
