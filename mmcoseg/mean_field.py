"""The dense CRF of one image.

The processes of ``DenseCRF`` import this module: it needs nothing but numpy and pydensecrf, so that
they start in a fraction of a second and stay small.
"""

from collections.abc import Sequence
from types import ModuleType

import numpy as np

from .errors import MMCosegError
from .optional import import_optional
from .options import in_range, whole_number

__all__ = ['check_crf_options', 'dense_crf', 'import_pydensecrf']

#: The longer side, in pixels, of the images that kernels' widths are meant for. They are scaled
#: with the image, so that the result does not depend on its resolution.
_REFERENCE_SIDE = 500
#: Lowest and highest probability that the CRF starts from: it cannot undo a certainty.
_CLIP = 0.03, 0.97


def import_pydensecrf() -> ModuleType:
    """The module ``pydensecrf.densecrf``, or an ImportError with the ways out."""
    return import_optional(
        'pydensecrf.densecrf',
        'DenseCRF',
        '`pip install pydensecrf2` works on Python 3.10 to 3.12; it cannot be built on 3.13. '
        'Without it: `--no-crf` on the command line, or `CoSegInferencer(crf=False)`',
    )


def dense_crf(
    image: np.ndarray,
    prob: np.ndarray,
    iterations: int = 5,
    bilateral: Sequence[float] | None = (60, 8, 5),
    gaussian: Sequence[float] | None = (2, 3),
    logit_shift: float = 0.0,
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
        bilateral: sxy, srgb and weight of the kernel of positions and colors, all above 0; None
            leaves it out. Both sxy are in pixels of an image whose longer side is 500.
        gaussian: sxy and weight of the kernel of positions, the same way.
        logit_shift: added to the logits of the objects, from -50 to 50.

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
        >>> refined = dense_crf(image, prob, bilateral=(1000, 8, 5))
        >>> bool((refined[0] > 0.5)[5:15, 10:20].all()), int((refined > 0.5).sum())
        (True, 100)
    """
    check_crf_options(iterations, bilateral, gaussian, logit_shift)
    labels = _unary(image, prob, logit_shift)
    height, width = image.shape[:2]
    scale = max(height, width) / _REFERENCE_SIDE
    crf = import_pydensecrf().DenseCRF2D(width, height, len(labels))
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
    return result[-len(prob) :]


def check_crf_options(
    iterations: int,
    bilateral: Sequence[float] | None,
    gaussian: Sequence[float] | None,
    logit_shift: float,
) -> None:
    """Refuse options of :func:`dense_crf` out of range."""
    whole_number('iterations', iterations, least=0)
    in_range('logit_shift', logit_shift, -50, 50)
    kernels = dict(bilateral=(bilateral, 'sxy, srgb, weight'), gaussian=(gaussian, 'sxy, weight'))
    for name, (kernel, parts) in kernels.items():
        if kernel is not None and (len(kernel) != len(parts.split()) or not min(kernel) > 0):
            raise MMCosegError(f'{name} must be ({parts}) above 0, or None, got {kernel!r}')


def _unary(image: np.ndarray, prob: np.ndarray, logit_shift: float) -> np.ndarray:
    """Probabilities of two or more labels to start from, (C, H, W) float32, C order."""
    if image.dtype != np.uint8 or image.shape[2:] != (3,) or prob.shape[1:] != image.shape[:2]:
        raise MMCosegError(
            'the image must be (H, W, 3) uint8, and the probabilities (C, H, W) of its size, got '
            f'{image.dtype} {image.shape} and {prob.shape}'
        )
    # Resizing oversteps by rounding errors; the comparison also finds what is no number.
    if not abs(prob - 0.5).max() <= 0.5 + 1e-4:
        raise MMCosegError(
            f'probabilities must lie in [0, 1], got values from {prob.min()} to {prob.max()}'
        )
    labels = prob.clip(0, 1).astype(np.float64)
    if len(labels) == 1:
        labels = np.concatenate([1 - labels, labels])
    labels[1:] *= np.exp(logit_shift)
    # A pixel of which nothing is known may be anything.
    labels = np.where(labels.sum(axis=0) > 0, labels, 1)
    labels = (labels / labels.sum(axis=0)).clip(*_CLIP)
    return np.ascontiguousarray(labels, np.float32)
