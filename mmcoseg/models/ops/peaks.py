"""Peaks of maps, and what of the image each of them rests on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from skimage.morphology import local_maxima
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_input
from torch.overrides import TorchFunctionMode

from ...errors import MMCosegError

__all__ = ['PeakPropagation', 'find_peaks', 'peak_response_maps']

#: Responses of the non-negative part below this count as none.
NO_RESPONSE = 1e-10


def find_peaks(
    maps: Tensor, max_peaks: int | None = None, min_value: float | None = None
) -> Tensor:
    """Places of a map where no neighbor is higher, and which are above its median.

    Neighbors are the up to 8 around. A plateau, whose places are equal, is one peak if nothing
    around it is higher; it is at the place of it nearest to its centroid. So a map without
    contrast has no peak.

    Args:
        maps: one map, (h, w); numbers that are not finite are never peaks.
        max_peaks: keep only so many of the highest.
        min_value: keep only those of at least this value.

    Returns:
        (k, 2) int64, rows and columns, the highest first; equal ones in reading order.

    Raises:
        MMCosegError: if ``maps`` is not one map.

    Example:
        >>> find_peaks(torch.tensor([[1.0, 0.0, 0.0, 0.0, 3.0], [0.0, 0.0, 0.0, 3.0, 3.0]]))
        tensor([[1, 4],
                [0, 0]])
    """
    if maps.dim() != 2:
        raise MMCosegError(f'peaks are those of one map (h, w), got {tuple(maps.shape)}')
    values = maps.detach().double().cpu().numpy()
    values = np.where(np.isfinite(values), values, -np.inf)
    # On a map of one row or column the library sees no neighbors: a border all around it does.
    around = np.pad(values, 1, constant_values=-np.inf)
    maxima = local_maxima(around, connectivity=2)[1:-1, 1:-1] & (values > np.median(values))
    plateaus, count = ndimage.label(maxima, structure=np.ones((3, 3)))
    peaks = []
    for number, place in enumerate(ndimage.find_objects(plateaus), 1):
        members = np.argwhere(plateaus[place] == number)
        nearest = np.square(members - members.mean(axis=0)).sum(axis=1).round(9).argmin()
        peaks.append(members[nearest] + [s.start for s in place])
    peaks = np.array(peaks, np.int64).reshape(count, 2)
    heights = values[tuple(peaks.T)]
    order = np.lexsort((peaks[:, 1], peaks[:, 0], -heights))
    if min_value is not None:
        order = order[heights[order] >= min_value]
    return torch.from_numpy(peaks[order[:max_peaks]]).to(maps.device)


def peak_response_maps(
    model_part: Callable[[Tensor], Tensor],
    image: Tensor,
    peaks: Tensor,
    chunk_size: int = 10,
) -> Tensor:
    """Peak back-propagation: which pixels a peak rests on (Zhou et al., CVPR 2018, section 3.2).

    A random walk from the peak back to the image. At a convolution it goes from an output y_j to
    an input x_i with the probability ``x_i w+_ij / sum over i' of x_i' w+_i'j``, w+ the
    non-negative part of the weights; everything else passes it like a gradient. See
    :class:`PeakPropagation`. The network runs forward once for all peaks.

    Args:
        model_part: from images (1, 3, H, W) to one map (1, 1, h, w), in evaluation mode; built of
            whatever torch offers. Its parameters and modules are not touched.
        image: (3, H, W), as the network gets it.
        peaks: rows and columns in the map, (k, 2) int64.
        chunk_size: how many peaks go back at a time. Memory grows with it; the result does not
            depend on it.

    Returns:
        (k, H, W) float32, at least 0. Each map sums to 1, or is 0 all over where the peak has no
        positive ground.

    Raises:
        MMCosegError: if shapes do not fit, or a peak is not in the map.
    """
    if image.dim() != 3 or peaks.dim() != 2 or peaks.shape[1] != 2:
        raise MMCosegError(
            'peak_response_maps needs one image (3, H, W) and peaks (k, 2), got '
            f'{tuple(image.shape)} and {tuple(peaks.shape)}'
        )
    if not len(peaks):
        return image.new_zeros(0, *image.shape[-2:], dtype=torch.float32)
    # Autograd cannot save tensors that were made in inference mode, so the image is copied.
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(image.device.type, enabled=False),
    ):
        x = image.detach().clone().float()[None].requires_grad_()
        with PeakPropagation():
            response = model_part(x)
        if response.dim() != 4 or response.shape[:2] != (1, 1):
            raise MMCosegError(f'model_part must give one map (1, 1, h, w), got {response.shape}')

        def at_image(seed: Tensor) -> Tensor:
            (grad,) = torch.autograd.grad(response, x, seed, retain_graph=True)
            return grad[0].sum(dim=0)

        maps = torch.vmap(at_image, chunk_size=chunk_size)(_one_hot(peaks, response)).clamp(min=0)
    return maps / maps.sum(dim=(-2, -1), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)


def _one_hot(peaks: Tensor, response: Tensor) -> Tensor:
    """(k, 1, 1, h, w), 1 at each peak."""
    height, width = response.shape[-2:]
    row, column = peaks.to(response.device).unbind(dim=1)
    if (peaks < 0).any() or (row >= height).any() or (column >= width).any():
        raise MMCosegError(f'peaks {peaks.tolist()} are not all in the map of {height} x {width}')
    seeds = response.new_zeros(len(peaks), *response.shape)
    seeds[torch.arange(len(peaks), device=response.device), 0, 0, row, column] = 1
    return seeds


class PeakPropagation(TorchFunctionMode):
    """Within this context, what is computed has the derivatives of peak back-propagation.

    Values stay as they are. Three rules replace derivatives; all other functions keep theirs:

    - a convolution: see :class:`_RandomWalk`;
    - a batch normalization with stored statistics right behind a convolution: folded into its
      weights;
    - such a batch normalization elsewhere: passes gradients of channels that it does not turn
      over, and stops the others.

    No module is changed, an error leaves nothing behind, and other threads are not affected.

    Example:
        >>> x, w = torch.tensor([[[[1.0, 3.0]]]], requires_grad=True), torch.ones(1, 1, 1, 2)
        >>> with PeakPropagation():
        ...     y = F.conv2d(x, w)
        >>> y.detach(), torch.autograd.grad(y.sum(), x)[0]
        (tensor([[[[4.]]]]), tensor([[[[0., 1.]]]]))
    """

    def __init__(self) -> None:
        super().__init__()
        self._latest: _Convolution | None = None

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        rules = {F.conv2d: self._convolve, F.batch_norm: self._normalize}
        return rules.get(func, func)(*args, **(kwargs or {}))

    # Arguments have the names of those of torch's functions.
    def _convolve(
        self, input: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **geometry: Any
    ) -> Tensor:
        geometry |= dict(zip(('stride', 'padding', 'dilation', 'groups'), args))
        value = F.conv2d(input, weight, bias, **geometry)
        output = _RandomWalk.apply(input, weight, value.detach(), geometry)
        self._latest = _Convolution(input, weight, geometry, output, output._version)
        return output

    def _normalize(
        self,
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        value = F.batch_norm(
            input, running_mean, running_var, weight, bias, training, momentum, eps
        )
        if training or running_var is None:
            return value
        scale = (running_var + eps).rsqrt()
        if weight is not None:
            scale = weight * scale
        source = self._latest
        if source is not None and source.gave(input):
            folded = source.weight * scale.view(-1, 1, 1, 1)
            return _RandomWalk.apply(source.input, folded, value.detach(), source.geometry)
        return _Gate.apply(input, value.detach(), (scale > 0).view(-1, *[1] * (input.dim() - 2)))


@dataclass
class _Convolution:
    """The latest convolution, for what stands right behind it."""

    input: Tensor
    weight: Tensor
    geometry: dict[str, Any]
    output: Tensor
    version: int

    def gave(self, tensor: Tensor) -> bool:
        """Whether a tensor is the output, not changed in place since."""
        return tensor is self.output and tensor._version == self.version


class _Gate(torch.autograd.Function):
    """A known value; its derivative is 1 where ``passes``, else 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, passes: Tensor) -> Tensor:
        ctx.save_for_backward(passes)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad * ctx.saved_tensors[0], None, None


class _RandomWalk(torch.autograd.Function):
    """A convolution of known value, with the derivative of peak back-propagation.

    With x less its smallest value in the image, so that it is not negative, and w+ the
    non-negative part of the weights, the derivative of output y_j by input x_i is
    ``x_i w+_ij / sum over i' of x_i' w+_i'j``.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, value: Tensor, geometry: dict) -> Tensor:
        ctx.geometry = geometry
        ctx.save_for_backward(x, weight)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        # Of many peaks at once, grad alone is a batch: the rest is computed once for all.
        x, weight = ctx.saved_tensors
        x = x - x.amin(dim=(1, 2, 3), keepdim=True)
        weight = weight.clamp(min=0)
        response = F.conv2d(x, weight, None, **ctx.geometry)
        inverse = torch.where(response > NO_RESPONSE, response.reciprocal(), 0.0)
        back = _gradient_of_input(grad * inverse, x, weight, **ctx.geometry)
        return back * x, None, None, None


def _gradient_of_input(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: int | tuple[int, int] = 1,
    padding: str | int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> Tensor:
    """The gradient of a convolution's input x, (n, c, h, w), for that of its output."""
    stride, dilation = _pair(stride), _pair(dilation)
    reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[-2:])]
    if padding == 'valid':
        before = 0, 0
    elif padding == 'same':
        before = reach[0] // 2, reach[1] // 2
    else:
        before = _pair(padding)
    if stride != (1, 1):
        return conv2d_input(x.shape, weight, grad, stride, before, dilation, groups)
    # Without strides this is a convolution with the mirrored kernel, which is several times as
    # fast on CPUs.
    mirrored = weight.flip(-2, -1).unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    around = [max(r - b, 0) for r, b in zip(reach, before)]
    back = F.conv2d(grad, mirrored.contiguous(), None, 1, around, dilation, groups)
    (top, left), (height, width) = [max(b - r, 0) for r, b in zip(reach, before)], x.shape[-2:]
    return back.narrow(-2, top, height).narrow(-1, left, width)


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    """As torch reads its geometry: one number for both, or a tuple of one or two."""
    return (value, value) if isinstance(value, int) else (value[0], value[-1])
