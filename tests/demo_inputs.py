"""Groups of random images with ground truth, in memory and on disk."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.structures import InstanceData, PixelData
from PIL import Image

from mmcoseg.errors import MMCosegError
from mmcoseg.files import save_image
from mmcoseg.structures import CoSegDataSample, GroupDataSample

__all__ = ['make_group_batch', 'write_tiny_dataset']


def make_group_batch(
    group_sizes: Sequence[int] = (3, 2),
    size: tuple[int, int] = (32, 32),
    seed: int = 0,
    *,
    ori_shape: tuple[int, int] | None = None,
    num_classes: int = 3,
    num_foreground: int = 1,
) -> dict:
    """A batch as ``group_collate`` gives it: brightened rectangles on noise.

    A class k of a group brightens one color channel, the same in all of its images, so that
    small networks can learn the answer.

    Args:
        group_sizes: number of images of each group.
        size: height and width of the images, at least (8, 8).
        seed: of everything random.
        ori_shape: height and width that the images are said to have had in their files; None:
            ``size``. Ground truth is at ``size``, as in training.
        num_classes: number of categories; group g has the label ``g % num_classes``, and where it
            has several classes the following ones.
        num_foreground: object classes K in every image, 1 to 3; mask values are 1..K.

    Returns:
        ``dict(inputs, data_samples)``: a list over groups of lists of (3, H, W) uint8 tensors, and
        a list of ``GroupDataSample`` whose images (``g<number>/<index>``) have ``gt_sem_seg`` and
        ``gt_instances``.

    Raises:
        MMCosegError: for a wrong number of classes.

    Example:
        >>> batch = make_group_batch(group_sizes=(2, 1), size=(16, 24))
        >>> [len(images) for images in batch['inputs']], batch['inputs'][0][0].shape
        ([2, 1], torch.Size([3, 16, 24]))
        >>> batch['data_samples'][0][1].identity
        'g0/1'
    """
    if not 1 <= num_foreground <= min(3, num_classes):
        raise MMCosegError(
            f'num_foreground must be from 1 to {min(3, num_classes)} with num_classes='
            f'{num_classes}, got {num_foreground}'
        )
    rng = np.random.default_rng(seed)
    inputs, data_samples = [], []
    for number, count in enumerate(group_sizes):
        images, samples = [], []
        for index in range(count):
            image, mask = _image(rng, size, num_foreground, shift=number)
            images.append(torch.from_numpy(image.transpose(2, 0, 1).copy()))
            metainfo = dict(
                group=f'g{number}',
                stem=str(index),
                ori_shape=tuple(ori_shape or size),
                img_shape=tuple(size),
            )
            sample = CoSegDataSample(metainfo=metainfo)
            sample.gt_sem_seg = PixelData(data=torch.from_numpy(mask.astype(np.int64))[None])
            values = np.arange(1, num_foreground + 1)
            sample.gt_instances = InstanceData(
                masks=torch.from_numpy(mask[None] == values[:, None, None]),
                labels=torch.from_numpy((number + values - 1) % num_classes),
            )
            samples.append(sample)
        labels = sorted((number + k) % num_classes for k in range(num_foreground))
        metainfo = dict(group=f'g{number}', category=f'g{number}', label_ids=tuple(labels))
        inputs.append(images)
        data_samples.append(GroupDataSample(samples, metainfo=metainfo))
    return dict(inputs=inputs, data_samples=data_samples)


def write_tiny_dataset(
    root: str | Path,
    groups: Mapping[str, int] | None = None,
    size: tuple[int, int] = (24, 32),
    seed: int = 0,
    *,
    foreground: int = 255,
    num_foreground: int = 1,
) -> Path:
    """Write a data set in the canonical layout: ``images/<group>/*.png``, ``masks/<group>/*.png``.

    Returns ``root``.

    Args:
        root: folder to write to; it is made.
        groups: name and number of images of each group; None: ``dict(bird=3, car=2)``. Stems are
            ``000``, ``001``, ...
        size: height and width of the images; odd images are transposed, so that sizes differ.
        seed: of everything random.
        foreground: mask value of objects, where there is one class.
        num_foreground: object classes; with several, mask values are 1..K.

    Example:
        >>> import tempfile
        >>> root = write_tiny_dataset(tempfile.mkdtemp())
        >>> sorted(str(path.relative_to(root)) for path in root.glob('masks/*/*'))[:2]
        ['masks/bird/000.png', 'masks/bird/001.png']
    """
    root = Path(root)
    rng = np.random.default_rng(seed)
    for number, (group, count) in enumerate((groups or dict(bird=3, car=2)).items()):
        for index in range(count):
            shape = size if index % 2 == 0 else size[::-1]
            image, mask = _image(rng, shape, num_foreground, shift=number)
            if num_foreground == 1:
                mask = mask * np.uint8(foreground)
            for part, pixels in (('images', image[:, :, ::-1]), ('masks', mask)):
                path = root / part / group / f'{index:03}.png'
                save_image(Image.fromarray(pixels), path, 'PNG')
    return root


def _image(
    rng: np.random.Generator, size: tuple[int, int], num_foreground: int, shift: int
) -> tuple[np.ndarray, np.ndarray]:
    """Noise with one rectangle a class: (H, W, 3) uint8 BGR, and the mask (H, W) uint8."""
    height, width = size
    image = rng.integers(0, 120, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), np.uint8)
    # Each class has its own stripe of the image, so that none can hide another.
    edges = np.linspace(0, width, num_foreground + 1).astype(int)
    for k in range(num_foreground):
        stripe = edges[k + 1] - edges[k]
        h = max(2, int(0.45 * height))
        w = max(2, int((0.45 if num_foreground == 1 else 0.7) * stripe))
        top = rng.integers(1, height - h)
        left = edges[k] + rng.integers(0, stripe - w + 1)
        mask[top : top + h, left : left + w] = k + 1
        image[top : top + h, left : left + w, (shift + k) % 3] += 130
    return image, mask
