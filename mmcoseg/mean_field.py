"""The dense CRF of one image.

The processes of ``DenseCRF`` import this module: it needs nothing but numpy and pydensecrf, so that
they start in a fraction of a second and stay small.
"""

from collections.abc import Sequence
from types import ModuleType

import numpy as np

from .errors import MMCosegError
from .optional import import_optional

__all__ = ['check_crf_options', 'dense_crf', 'import_pydensecrf']


def import_pydensecrf() -> ModuleType:
    """The module ``pydensecrf.densecrf``.

    Raises:
        ImportError: if it is missing, with the ways out.
    """
    return import_optional(
        'pydensecrf.densecrf',
        'DenseCRF',
        '`pip install pydensecrf2` works on Python 3.10 to 3.12; it cannot be built on 3.13. '
        'Without it: `--no-crf` on the command line, `CoSegInferencer(crf=False)`, or GuidedFilter '
        "in place of DenseCRF in the config's `postprocessors`",
    )


def dense_crf(
    image: np.ndarray,
    prob: np.ndarray,
    iterations: int = 5,
    bilateral: Sequence[float] | None = (60, 8, 5),
    gaussian: Sequence[float] | None = (2, 3),
    clip: Sequence[float] = (0.03, 0.97),
    logit_shift: float = 0.0,
    reference_side: float | None = 500,
) -> np.ndarray:
    """Fit a soft mask to the colors of its image by a fully connected CRF.

    Mean field inference of Kraehenbuehl and Koltun, "Efficient Inference in Fully Connected CRFs
    with Gaussian Edge Potentials" (NIPS 2011), by pydensecrf. Every iteration sets

        Q_i(l) ~ P_i(l) exp( sum_m w_m sum_j K^m_ij / sqrt(D^m_i D^m_j) Q_j(l) ),

    ``D^m_i = sum_j K^m_ij`` (Potts compatibility, normalized; j = i included), with the kernels
    ``exp(-|p_i - p_j|^2 / 2 sxy^2 - |c_i - c_j|^2 / 2 srgb^2)`` and
    ``exp(-|p_i - p_j|^2 / 2 sxy^2)`` of positions p and colors c (eq. 3).

    Args:
        image: (H, W, 3) uint8, colors in any order.
        prob: (1, H, W), probability of the object, or (K + 1, H, W), of the background and K
            labels; float in [0, 1].
        iterations: number of mean field iterations.
        bilateral: sxy, srgb and weight of the kernel of positions and colors; None leaves it out.
        gaussian: sxy and weight of the kernel of positions; None leaves it out.
        clip: lowest and highest probability that the CRF starts from: it cannot undo a certainty.
        logit_shift: added to the logits of the objects before that.
        reference_side: the longer side, in pixels, of the images that both sxy are meant for. They
            are scaled with the image, so that the result does not depend on its resolution. None
            takes them as they are.

    Returns:
        float32 in [0, 1], of the shape of ``prob``; several labels sum to 1.

    Raises:
        MMCosegError: for arrays of other kinds, probabilities outside [0, 1], options out of range.
        ImportError: without pydensecrf.

    Example:
        >>> image = np.zeros((20, 30, 3), np.uint8)
        >>> image[5:15, 10:20] = 255
        >>> prob = np.full((1, 20, 30), 0.4)
        >>> prob[:, 6:12, 9:18] = 0.7
        >>> refined = dense_crf(image, prob, bilateral=(60, 8, 5), reference_side=None)
        >>> bool((refined[0] > 0.5)[5:15, 10:20].all()), int((refined > 0.5).sum())
        (True, 100)
    """
    check_crf_options(iterations, bilateral, gaussian, clip, logit_shift, reference_side)
    image, prob = _check_arrays(image, prob)
    densecrf = import_pydensecrf()
    labels = _unary(prob, clip, logit_shift)
    height, width = image.shape[:2]
    scale = max(height, width) / reference_side if reference_side else 1.0

    crf = densecrf.DenseCRF2D(width, height, len(labels))
    crf.setUnaryEnergy(-np.log(labels.reshape(len(labels), -1)))
    if gaussian is not None:
        sxy, weight = gaussian
        crf.addPairwiseGaussian(sxy=sxy * scale, compat=weight)
    if bilateral is not None:
        sxy, srgb, weight = bilateral
        # A copy of its own: pydensecrf takes neither strides nor read-only arrays.
        pixels = np.array(image, order='C')
        crf.addPairwiseBilateral(sxy=sxy * scale, srgb=srgb, rgbim=pixels, compat=weight)
    result = np.array(crf.inference(iterations), np.float32).reshape(labels.shape)
    return result[1:] if len(prob) == 1 else result


def check_crf_options(
    iterations: int,
    bilateral: Sequence[float] | None,
    gaussian: Sequence[float] | None,
    clip: Sequence[float],
    logit_shift: float,
    reference_side: float | None,
) -> None:
    """Raise ValueError, with what is allowed, for options of :func:`dense_crf` out of range."""
    if not isinstance(iterations, int) or iterations < 0:
        raise MMCosegError(f'iterations must be a whole number from 0, got {iterations!r}')
    kernels = (('bilateral', bilateral, 'sxy, srgb, weight'), ('gaussian', gaussian, 'sxy, weight'))
    for name, kernel, parts in kernels:
        if kernel is None:
            continue
        fits = len(kernel) == parts.count(',') + 1
        if not fits or not all(width > 0 for width in kernel[:-1]) or not kernel[-1] >= 0:
            raise MMCosegError(
                f'{name} must be ({parts}) with widths above 0 and a weight of at least 0, or '
                f'None, got {kernel!r}'
            )
    if len(clip) != 2 or not 0 < clip[0] < clip[1] < 1:
        raise MMCosegError(f'clip must be (low, high) with 0 < low < high < 1, got {clip!r}')
    if not abs(logit_shift) <= 50:
        raise MMCosegError(f'logit_shift must be from -50 to 50, got {logit_shift!r}')
    if reference_side is not None and not reference_side > 0:
        raise MMCosegError(f'reference_side must be above 0, or None, got {reference_side!r}')


def _check_arrays(image: np.ndarray, prob: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    image, prob = np.asarray(image), np.asarray(prob)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise MMCosegError(f'the image must be (H, W, 3) uint8, got {image.dtype} {image.shape}')
    if prob.ndim != 3 or prob.shape[1:] != image.shape[:2] or not len(prob):
        raise MMCosegError(
            f'the probabilities must be (C, H, W) with the size of the image, {image.shape[:2]}, '
            f'got {prob.shape}'
        )
    # Resizing oversteps by rounding errors; the comparison also finds what is no number.
    if not (prob.min() >= -1e-4 and prob.max() <= 1 + 1e-4):
        raise MMCosegError(
            f'probabilities must lie in [0, 1], got values from {prob.min()} to {prob.max()}'
        )
    return image, prob.clip(0, 1)


def _unary(prob: np.ndarray, clip: Sequence[float], logit_shift: float) -> np.ndarray:
    """Probabilities of two or more labels to start from, (C, H, W) float32, C order."""
    labels = prob.astype(np.float64)
    single = len(labels) == 1
    if single:
        labels = np.concatenate([1 - labels, labels])
    labels[1:] *= np.exp(logit_shift)
    total = labels.sum(axis=0)
    # A pixel of which nothing is known may be anything.
    labels = np.where(total > 0, labels / np.where(total > 0, total, 1), 1 / len(labels))
    if single:
        labels[1] = labels[1].clip(*clip)
        labels[0] = 1 - labels[1]
    else:
        labels = labels.clip(*clip)
    return np.ascontiguousarray(labels, np.float32)
