"""Peaks of maps, and what of the image each of them rests on."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from skimage.measure import label, regionprops
from skimage.morphology import local_maxima
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_input
from torch.nn.modules.utils import _pair
from torch.overrides import TorchFunctionMode

from ...errors import MMCosegError

__all__ = ['PeakPropagation', 'find_peaks', 'peak_response_maps']

#: Responses of the non-negative part below this count as none.
NO_RESPONSE = 1e-10


def find_peaks(
    maps: Tensor, max_peaks: int | None = None, min_value: float | None = None
) -> Tensor:
    """Places of a map where none of the 8 neighbors is higher, and which are above its median.

    A plateau, whose places are equal, is one peak if nothing around it is higher; it is at the
    place of it nearest to its centroid. So a map without contrast has no peak.

    Args:
        maps: one map, (h, w); numbers that are not finite are never peaks.
        max_peaks: keep only so many of the highest.
        min_value: keep only those of at least this value.

    Returns:
        (k, 2) int64, rows and columns, the highest first; equal ones in reading order.

    Example:
        >>> find_peaks(torch.tensor([[1.0, 0.0, 0.0, 0.0, 3.0], [0.0, 0.0, 0.0, 3.0, 3.0]]))
        tensor([[1, 4],
                [0, 0]])
    """
    values = maps.detach().double().cpu().numpy()
    values = np.where(np.isfinite(values), values, -np.inf)
    # On a map of one row or column the library sees no neighbors: a border all around it does.
    around = np.pad(values, 1, constant_values=-np.inf)
    maxima = local_maxima(around, connectivity=2)[1:-1, 1:-1] & (values > np.median(values))
    peaks = []
    for plateau in regionprops(label(maxima, connectivity=2)):
        places = plateau.coords
        distances = np.square(places - places.mean(axis=0)).sum(axis=1).round(9)
        peaks.append(places[distances.argmin()])
    peaks = np.array(peaks, np.int64).reshape(-1, 2)
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
        MMCosegError: if ``model_part`` gives anything else than one map.
    """
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
        seeds = response.new_zeros(len(peaks), *response.shape)
        row, column = peaks.to(response.device).unbind(dim=1)
        seeds[torch.arange(len(peaks), device=response.device), 0, 0, row, column] = 1

        def at_image(seed: Tensor) -> Tensor:
            (grad,) = torch.autograd.grad(response, x, seed, retain_graph=True)
            return grad[0].sum(dim=0)

        try:
            maps = torch.vmap(at_image, chunk_size=chunk_size)(seeds)
        except RuntimeError:  # some part, such as an attention, has no batched backward
            maps = torch.stack([at_image(seed) for seed in seeds])
        maps = maps.clamp(min=0)
    return maps / maps.sum(dim=(-2, -1), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)


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
        # The output of the latest convolution, its version, and what it was made of.
        self._latest = None, 0, ()

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
        self._latest = output, output._version, (input, weight, geometry)
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
        output, version, convolution = self._latest
        if input is output and input._version == version:  # not changed in place since
            x, kernel, geometry = convolution
            kernel = kernel * scale.view(-1, 1, 1, 1)
            return _RandomWalk.apply(x, kernel, value.detach(), geometry)
        passed = input * (scale > 0).view(-1, *[1] * (input.dim() - 2))
        return value.detach() + (passed - passed.detach())


class _RandomWalk(torch.autograd.Function):
    """A convolution of known value, with the derivative of :func:`peak_response_maps`.

    In it, x is less its smallest value in the image, so that it is not negative.
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
    dilation = _pair(dilation)
    reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[-2:])]
    if isinstance(padding, str):
        padding = dict(valid=0, same=[r // 2 for r in reach])[padding]
    padding = _pair(padding)
    if _pair(stride) != (1, 1):
        return conv2d_input(x.shape, weight, grad, stride, padding, dilation, groups)
    # Without strides this is a convolution with the mirrored kernel, which is several times as
    # fast on CPUs.
    mirrored = weight.flip(-2, -1).unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    around = [max(r - p, 0) for r, p in zip(reach, padding)]
    back = F.conv2d(grad, mirrored.contiguous(), None, 1, around, dilation, groups)
    (top, left), (height, width) = [max(p - r, 0) for r, p in zip(reach, padding)], x.shape[-2:]
    return back.narrow(-2, top, height).narrow(-1, left, width)
