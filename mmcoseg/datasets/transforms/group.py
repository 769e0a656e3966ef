"""Transforms of group records."""

import copy
import random
import warnings
from collections.abc import Callable, Sequence

from mmcv.transforms import BaseTransform

from ...options import in_range, whole_number
from ...registry import TRANSFORMS
from ..image_io import BadImageError

__all__ = ['ForEachImage', 'MixForeignImages', 'SampleGroup', 'build_transforms']


def build_transforms(transforms: Sequence[dict | Callable]) -> list[Callable]:
    """Transforms from their configs, by this toolbox' registry; others stay as they are."""
    return [TRANSFORMS.build(step) if isinstance(step, dict) else step for step in transforms]


@TRANSFORMS.register_module()
class SampleGroup(BaseTransform):
    """Draw N images of a group at random (SSNM: N = 5), without replacement where it has as many.

    The group's co-categories become those that *every* drawn image has. A few of the images not
    drawn stay in the record as ``spares``, in case one of the drawn cannot be read.

    Args:
        num_images: N.
    """

    SPARES = 20

    def __init__(self, num_images: int = 5) -> None:
        whole_number('num_images', num_images)
        self.num_images = num_images

    def transform(self, results: dict) -> dict:
        images = results['images']
        order = list(range(len(images)))
        random.shuffle(order)
        while len(order) < self.num_images:
            order.append(random.randrange(len(images)))
        # Records are looked at only when needed: COCO-SEG makes them on the fly.
        results['images'] = [copy.copy(images[i]) for i in order[: self.num_images]]
        spares = order[self.num_images :][-self.SPARES :]
        results['spares'] = [images[i] for i in spares]
        common = set.intersection(*(set(image['label_ids']) for image in results['images']))
        results['label_ids'] = tuple(sorted(common | set(results['label_ids'])))
        return results


@TRANSFORMS.register_module()
class MixForeignImages(BaseTransform):
    """Replace one of the drawn images by one of another group; its mask is empty.

    So a network cannot answer by what it knows of single images, but must look at what the group
    has in common. Only images that lack the group's co-categories are taken.

    Args:
        prob: probability that a group gets a foreign image.
    """

    #: Most images are foreign to most groups; a few tries find one if there is any.
    TRIES = 20

    def __init__(self, prob: float = 0.5) -> None:
        in_range('prob', prob, 0, 1)
        self.prob = prob

    def transform(self, results: dict) -> dict:
        dataset, images = results['dataset'], results['images']
        if random.random() >= self.prob or len(dataset) < 2 or len(images) < 2:
            return results
        position = random.randrange(len(images))
        for _ in range(self.TRIES):
            other = dataset.get_data_info(random.randrange(len(dataset)))
            image = random.choice(other['images'])
            alien = set(image['label_ids']).isdisjoint(results['label_ids'])
            if other['group'] != results['group'] and alien:
                images[position] = dict(image, foreign=True)
                break
        return results


@TRANSFORMS.register_module()
class ForEachImage(BaseTransform):
    """Apply transforms of mmcv, mmsegmentation or ours to every image of a group by itself.

    An image that cannot be read is reported once and replaced by a spare one of its group
    (training), or left out of the group (testing): one bad file never ends a run.

    Args:
        transforms: their configs; they see image records.

    Raises: BadImageError: if no image of the group is left, with what was wrong with the last.
    """

    def __init__(self, transforms: Sequence[dict | Callable]) -> None:
        self.transforms = build_transforms(transforms)
        self._reported: set[str] = set()
        self._last_error = ''

    def transform(self, results: dict) -> dict:
        images = []
        for image in results['images']:
            done = self._try(image, results)
            while done is None and results.get('spares'):
                done = self._try(results['spares'].pop(), results)
            if done is not None:
                images.append(done)
        if not images:
            raise BadImageError(
                f'no image of the group {results["group"]!r} can be read; {self._last_error}'
            )
        results['images'] = images
        return results

    def apply(self, image: dict, label_ids: Sequence[int] = ()) -> dict:
        """The transforms on one image record of a group with these co-categories.

        Raises: BadImageError, FileNotFoundError: if it cannot be read.
        """
        image = dict(image, co_label_ids=label_ids)
        for transform in self.transforms:
            image = transform(image)
        return image

    def _try(self, image: dict, results: dict) -> dict | None:
        try:
            return self.apply(image, results['label_ids'])
        except (BadImageError, FileNotFoundError) as error:
            self._last_error = str(error)
            if self._last_error not in self._reported:
                self._reported.add(self._last_error)
                warnings.warn(f'left out: {error}', stacklevel=2)
            return None
