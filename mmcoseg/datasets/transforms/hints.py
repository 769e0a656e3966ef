"""Hints that stand for what a person would say, made of ground truth."""

from collections import Counter

import numpy as np
from mmcv.transforms import BaseTransform

from ...options import whole_number
from ...registry import TRANSFORMS
from ...seeding import entropy_of
from ...structures import ExampleMask
from ...structures.coseg_data_sample import VOID

__all__ = ['GiveExamples']


@TRANSFORMS.register_module()
class GiveExamples(BaseTransform):
    """Give k images of a group their ground truth as hints: k-shot co-segmentation.

    With several classes, k images of each class; an image may count for several of them. The images
    are a function of the seed and the group alone, and those for a smaller k are among those for a
    larger one. At least one annotated image stays without hints.

    It stands behind the ``ForEachImage`` that loads masks at the original size. Metrics with
    ``hinted_images='skip'`` score the other images only.

    Required keys: ``group``, ``images``; of images, where they are annotated, ``gt_seg_map``.
    Added key of the k images: ``hints``, with one more :class:`~mmcoseg.structures.ExampleMask`.

    Args:
        num_examples: k.
        seed: of the choice.
    """

    #: Inference leaves it out.
    needs_annotations = True

    def __init__(self, num_examples: int = 1, seed: int = 0) -> None:
        whole_number('num_examples', num_examples)
        whole_number('seed', seed, 0)
        self.num_examples = num_examples
        self.seed = seed

    def transform(self, results: dict) -> dict:
        annotated = [image for image in results['images'] if 'gt_seg_map' in image]
        rng = np.random.default_rng(entropy_of(self.seed, results['group']))
        order = rng.permutation(len(annotated)).tolist()
        chosen = self._choose([annotated[number] for number in order])
        for image in chosen[: len(annotated) - 1]:
            image['hints'] = (*image.get('hints', ()), ExampleMask(image['gt_seg_map']))
        return results

    def _choose(self, images: list[dict]) -> list[dict]:
        """The first k images of each class, in order."""
        seen: Counter[int] = Counter()
        chosen = []
        for image in images:
            classes = set(np.unique(image['gt_seg_map']).tolist()) - {0, VOID}
            if any(seen[label] < self.num_examples for label in classes):
                chosen.append(image)
                seen.update(classes)
        return chosen
