"""Peaks of maps, and what of the image each of them rests on."""

import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from math import inf, prod
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from skimage.morphology import local_maxima
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ...errors import MMCosegError

__all__ = ['PeakPropagation', 'find_peaks', 'peak_response_maps']

#: Responses of the non-negative part below this count as none.
NO_RESPONSE = 1e-10

#: Numbers in what goes back in one piece. Those of some megabytes use the same memory again; with
#: larger ones, getting pages from the system costs more than the convolution.
_PIECE = 1 << 22

#: Numbers in the largest map of all peaks that go back together.
_CHUNK = 1 << 25


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
    chunk_size: int | None = None,
) -> Tensor:
    """Peak back-propagation: which pixels a peak rests on (Zhou et al., CVPR 2018, section 3.2).

    A random walk from the peak back to the image. At a convolution it goes from an output y_j to
    an input x_i with the probability ``x_i w+_ij / sum over i' of x_i' w+_i'j``, w+ the
    non-negative part of the weights; everything else passes it like a gradient. See
    :class:`PeakPropagation`. Peaks go back together, and what does not depend on them is
    computed once.

    Args:
        model_part: from images (1, 3, H, W) to one map (1, 1, h, w), in evaluation mode; built of
            whatever torch offers. Its parameters and modules are not touched.
        image: (3, H, W), as the network gets it.
        peaks: rows and columns in the map, (k, 2) int64.
        chunk_size: how many peaks go back at a time; None for as many as have 128 megabytes in
            the largest feature map. Memory is that of about three times so many copies of it, and
            of what all peaks have in common; the result does not depend on it.

    Returns:
        (k, H, W) float32, at least 0, each with the sum 1, or 0 all over where the peak has no
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

    largest = 1

    def forward(batch: Tensor) -> Tensor:
        nonlocal largest
        with torch.enable_grad(), PeakPropagation() as mode:
            response = model_part(batch)
        largest = mode.largest
        return response

    # Tensors made in inference mode cannot be saved for going back, so it gets a copy.
    with (
        torch.inference_mode(False),
        torch.no_grad(),
        torch.autocast(image.device.type, enabled=False),
    ):
        response, go_back = torch.func.vjp(forward, image.clone().float()[None])
        if response.dim() != 4 or response.shape[:2] != (1, 1):
            raise MMCosegError(f'model_part must give one map (1, 1, h, w), got {response.shape}')
        seeds = _one_hot(peaks, response)
        number = min(chunk_size or max(1, _CHUNK // largest), len(peaks))
        at_image = torch.func.vmap(
            lambda seed: go_back(seed, create_graph=False)[0][0].sum(dim=0), chunk_size=number
        )
        token = _scratch.set(_Scratch(number * largest))
        try:
            maps = at_image(seeds).clamp(min=0)
        finally:
            _scratch.reset(token)
        return maps / maps.sum(dim=(-2, -1), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)


def _one_hot(peaks: Tensor, response: Tensor) -> Tensor:
    height, width = response.shape[-2:]
    row, column = peaks.to(response.device).unbind(dim=1)
    if (peaks < 0).any() or (row >= height).any() or (column >= width).any():
        raise MMCosegError(f'peaks {peaks.tolist()} are not all in the map of {height} x {width}')
    seeds = response.new_zeros(len(peaks), *response.shape)
    seeds[torch.arange(len(peaks), device=response.device), 0, 0, row, column] = 1
    return seeds


class PeakPropagation(TorchFunctionMode):
    """Within this context, what is computed has the derivatives of peak back-propagation.

    Values are as ever. The derivative of a convolution y of x (of one image, less its smallest
    value, so that it is not negative) with weights w by x_i is
    ``x_i sum over j of w+_ij g_j / sum over i' of x_i' w+_i'j``. A batch normalization with stored
    statistics right behind a convolution belongs to its weights; elsewhere it lets pass what it
    does not turn over. All other functions keep their derivatives: rectifiers and pooling select,
    sums pass on to each summand.

    Functions are caught on their way (`torch.overrides.TorchFunctionMode`), whichever module calls
    them; so no module is changed, nothing is to be put back after an error, and other threads are
    not affected.

    Example:
        >>> x, w = torch.tensor([[[[1.0, 3.0]]]], requires_grad=True), torch.ones(1, 1, 1, 2)
        >>> with PeakPropagation():
        ...     y = F.conv2d(x, w)
        >>> y.detach(), torch.autograd.grad(y.sum(), x)[0]
        (tensor([[[[4.]]]]), tensor([[[[0., 1.]]]]))
    """

    def __init__(self) -> None:
        super().__init__()
        #: Numbers in the largest input or output of what was replaced.
        self.largest = 1

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        replacement = _REPLACEMENTS.get(func)
        if replacement is None:
            return func(*args, **(kwargs or {}))
        result = replacement(*args, **(kwargs or {}))
        for value in (*args[:1], result):
            if isinstance(value, Tensor):
                self.largest = max(self.largest, value.numel())
        return result


@dataclass
class _Source:
    """How a tensor came about by a convolution, for what stands right behind it."""

    x: Tensor
    weight: Tensor
    geometry: '_Geometry'
    version: int


#: Stride, padding, dilation, groups.
_Geometry = tuple[tuple[int, int], str | int | tuple[int, int], tuple[int, int], int]


def _source_of(y: Tensor) -> _Source | None:
    source = getattr(y, 'peak_source', None)
    # What was changed in place since is not the convolution's output any more.
    return source if source is not None and source.version == y._version else None


def _trace(
    x: Tensor, weight: Tensor, y: Tensor, geometry: _Geometry, passes: Tensor | None = None
) -> Tensor:
    out = _Convolution.apply(x, weight, y.detach(), passes, geometry, {})
    if passes is None:
        # Tensors carry attributes for as long as somebody holds them.
        out.peak_source = _Source(x, weight, geometry, out._version)
    return out


# Arguments have the names of those of torch's functions.
def _convolve(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: str | int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> Tensor:
    geometry = (_pair(stride), padding, _pair(dilation), groups)
    return _trace(input, weight, F.conv2d(input, weight, bias, *geometry), geometry)


def _normalize(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    y = F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    if training or running_var is None:
        return y
    scale = (running_var + eps).rsqrt()
    if weight is not None:
        scale = weight * scale
    source = _source_of(input)
    if source is not None:
        folded = source.weight * scale.view(-1, 1, 1, 1)
        return _trace(source.x, folded, y, source.geometry)
    return _Gate.apply(input, y.detach(), (scale > 0).view(-1, *[1] * (input.dim() - 2)))


def _rectify(input: Tensor, inplace: bool = False) -> Tensor:
    return _clip(F.relu, input, (0.0, inf), inplace=inplace)


def _rectify6(input: Tensor, inplace: bool = False) -> Tensor:
    return _clip(F.relu6, input, (0.0, 6.0), inplace=inplace)


def _hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    bounds = (min_val, max_val)
    return _clip(F.hardtanh, input, bounds, min_val=min_val, max_val=max_val, inplace=inplace)


def _clip(function: Callable, x: Tensor, bounds: tuple[float, float], **kwargs: Any) -> Tensor:
    """A rectifier; right behind a convolution it is done with it, where nothing is computed twice
    for many peaks."""
    source = _source_of(x)
    y = function(x, **kwargs)
    if source is None:
        return y
    return _trace(source.x, source.weight, y, source.geometry, (y > bounds[0]) & (y < bounds[1]))


def _pool(
    input: Tensor,
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int] | None = None,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    y, indices = F.max_pool2d_with_indices(
        input.detach(), kernel_size, stride, padding, dilation, ceil_mode
    )
    y = _Selection.apply(input, y, indices)
    return (y, indices) if return_indices else y


def _pad(
    input: Tensor, pad: Sequence[int], mode: str = 'constant', value: float | None = None
) -> Tensor:
    y = F.pad(input, pad, mode, value)
    if mode != 'constant' or input.dim() != 4 or len(pad) != 4 or min(pad) < 0:
        return y
    return _Padding.apply(input, y.detach(), (pad[2], pad[0]))


#: What stands for which function in the context. ``boolean_dispatch`` gives `F.max_pool2d`.
_REPLACEMENTS: dict[Callable, Callable] = {
    F.batch_norm: _normalize,
    F.conv2d: _convolve,
    F.hardtanh: _hardtanh,
    F.max_pool2d: _pool,
    F.pad: _pad,
    F.relu: _rectify,
    F.relu6: _rectify6,
}


class _Gate(torch.autograd.Function):
    """A known value, with a derivative of 1 where ``passes`` and else 0."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, y: Tensor, passes: Tensor) -> Tensor:
        return y.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(inputs[2])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad * ctx.saved_tensors[0], None, None


class _Convolution(torch.autograd.Function):
    """A convolution whose value is known, with the derivative of peak back-propagation."""

    @staticmethod
    def forward(
        x: Tensor,
        weight: Tensor,
        y: Tensor,
        passes: Tensor | None,
        geometry: _Geometry,
        common: dict[str, Tensor],
    ) -> Tensor:
        return y.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        x, weight, _, passes, ctx.geometry, ctx.common = inputs
        ctx.save_for_backward(x, weight, passes)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # What all peaks have in common is kept for those that come later.
        if not ctx.common:
            ctx.common.update(_common(*ctx.saved_tensors, ctx.geometry))
        return _WalkBack.apply(grad, *ctx.common.values()), None, None, None, None, None


def _common(
    x: Tensor, weight: Tensor, passes: Tensor | None, geometry: _Geometry
) -> dict[str, Any]:
    """The arguments of :class:`_WalkBack` that do not depend on the peak."""
    lowest = x.amin(dim=(1, 2, 3), keepdim=True)
    if lowest.any():
        x = x - lowest
    weight = weight.clamp(min=0)
    response = F.conv2d(x, weight, None, *geometry)
    # Where rectifiers let pass is in it, too.
    present = response > NO_RESPONSE if passes is None else passes & (response > NO_RESPONSE)
    inverse = torch.where(present, response.reciprocal_(), 0.0)
    return dict(x=x, weight=weight, inverse=inverse, geometry=geometry)


class _WalkBack(torch.autograd.Function):
    """``x * (transposed convolution of grad * inverse)``, where grad is not zero.

    What comes from single peaks of a deep layer is zero almost everywhere, so for each of them
    only a window is looked at, of the same size for all: one convolution of a batch of windows.
    """

    @staticmethod
    def forward(
        grad: Tensor, x: Tensor, weight: Tensor, inverse: Tensor, geometry: _Geometry
    ) -> Tensor:
        return _walk_back(grad[None], x, weight, inverse, geometry)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        pass

    @staticmethod
    def vmap(info: Any, in_dims: tuple, grad: Tensor, *others: Any) -> tuple[Tensor, int]:
        return _walk_back(_first(grad, in_dims[0]), *others), 0


class _Selection(torch.autograd.Function):
    """Max pooling whose value is known: the derivative goes to the places of the maxima."""

    @staticmethod
    def forward(x: Tensor, y: Tensor, indices: Tensor) -> Tensor:
        return y.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.size = inputs[0].shape[-2:]
        ctx.save_for_backward(inputs[2])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _Unpool.apply(grad, ctx.saved_tensors[0], ctx.size), None, None


class _Unpool(torch.autograd.Function):
    """Sums of grad at the places it came from, where it is not zero."""

    @staticmethod
    def forward(grad: Tensor, indices: Tensor, size: tuple[int, int]) -> Tensor:
        return _unpool(grad[None], indices, size)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        pass

    @staticmethod
    def vmap(info: Any, in_dims: tuple, grad: Tensor, *others: Any) -> tuple[Tensor, int]:
        return _unpool(_first(grad, in_dims[0]), *others), 0


class _Padding(torch.autograd.Function):
    """Padding whose value is known."""

    @staticmethod
    def forward(x: Tensor, y: Tensor, before: tuple[int, int]) -> Tensor:
        return y.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        x, _, ctx.before = inputs
        ctx.size = x.shape[-2:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _Crop.apply(grad, ctx.before, ctx.size), None, None


class _Crop(torch.autograd.Function):
    """What of grad is within the padding, and that it is known where grad is not zero."""

    @staticmethod
    def forward(grad: Tensor, before: tuple[int, int], size: tuple[int, int]) -> Tensor:
        return _crop(grad[None], before, size)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        pass

    @staticmethod
    def vmap(info: Any, in_dims: tuple, grad: Tensor, *others: Any) -> tuple[Tensor, int]:
        return _crop(_first(grad, in_dims[0]), *others), 0


def _walk_back(
    grad: Tensor, x: Tensor, weight: Tensor, inverse: Tensor, geometry: _Geometry
) -> Tensor:
    """:class:`_WalkBack` of k peaks at once.

    Args:
        grad: (k, n, C', h, w), k peaks of n images.
        x, inverse: (n, C, H, W) and (n, C', h, w).
    """
    stride, padding, dilation, groups = geometry
    kernel = weight.shape[-2:]
    padding = _before(padding, kernel, dilation)
    result = _zeros(grad, len(grad), *x.shape)
    windows = _windows(grad)
    if not windows:
        return result
    pixels = len(x) * prod(axis.stop - axis.start for axis in windows[0][1][2:])
    number = max(1, _PIECE // (pixels * max(weight.shape[0], x.shape[1] * prod(stride))))
    extents = {}
    for start in range(0, len(windows), number):
        some = windows[start : start + number]
        inner = torch.cat([grad[i][place] * inverse[place] for i, place in some])
        outer = _transposed(inner, weight, stride, dilation, groups)
        for (i, place), part in zip(some, outer.split(len(x))):
            starts = [s * axis.start - b for s, axis, b in zip(stride, place[2:], padding)]
            here, there = zip(*map(_overlap, starts, part.shape[-2:], x.shape[-2:]))
            torch.mul(part[(..., *here)], x[(..., *there)], out=result[i][(..., *there)])
            extents[i] = there
    return _with_extents(result, extents)


class _Scratch:
    """Memory for maps that go back, which is used again as soon as nobody holds the last map.

    Getting pages from the system for every one would cost more than the convolutions.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._arrays: list[np.ndarray] = []

    def zeros(self, shape: Sequence[int]) -> Tensor:
        size = prod(shape)
        for array in self._arrays:
            # The list, this name and the call; a tensor made of it would be one more.
            if array.size >= size and sys.getrefcount(array) <= 3:
                part = array[:size]
                part.fill(0)
                return torch.from_numpy(part).view(shape)
        # Pages that nobody writes to do not exist.
        self._arrays.append(np.zeros(max(size, self._size), np.float32))
        return torch.from_numpy(self._arrays[-1][:size]).view(shape)


_scratch: ContextVar[_Scratch | None] = ContextVar('scratch', default=None)


def _zeros(like: Tensor, *shape: int) -> Tensor:
    scratch = _scratch.get()
    if scratch is None or like.device.type != 'cpu' or like.dtype != torch.float32:
        return like.new_zeros(shape)
    return scratch.zeros(shape)


def _transposed(
    x: Tensor, weight: Tensor, stride: tuple[int, int], dilation: tuple[int, int], groups: int
) -> Tensor:
    """The transposed convolution, without padding."""
    by_channel = groups == len(weight) and weight.shape[1] == 1
    if stride == (1, 1) and (groups == 1 or by_channel):
        # It is the convolution with the mirrored kernel, which on CPUs is faster (up to 6 times,
        # by shape).
        mirrored = weight.flip(-2, -1) if by_channel else weight.flip(-2, -1).transpose(0, 1)
        reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[-2:])]
        return F.conv2d(x, mirrored.contiguous(), None, 1, reach, dilation, groups)
    return F.conv_transpose2d(x, weight, None, stride, 0, 0, groups, dilation)


def _unpool(grad: Tensor, indices: Tensor, size: tuple[int, int]) -> Tensor:
    """:class:`_Unpool` of k peaks at once: (k, n, C, h, w) to (k, n, C, *size)."""
    result = _zeros(grad, *grad.shape[:-2], *size)
    for i, place in _windows(grad):
        sources = indices[place].flatten(2)
        result[i].flatten(2).scatter_add_(2, sources, grad[i][place].flatten(2))
    return result


def _crop(grad: Tensor, before: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """:class:`_Crop` of k peaks at once: (k, n, C, h, w) to (k, n, C, *size)."""
    axes = [slice(b, b + length) for b, length in zip(before, size)]
    extents = {
        i: tuple(
            _overlap(e.start - b, e.stop - e.start, length)[1]
            for e, b, length in zip(extent, before, size)
        )
        for i, extent in _extents_of(grad).items()
    }
    # Peaks of which nothing is left are at no place.
    extents = {i: e for i, e in extents.items() if all(axis.stop > axis.start for axis in e)}
    return _with_extents(grad[(..., *axes)].contiguous(), extents)


#: Rows and columns.
_Extent = tuple[slice, slice]


def _with_extents(grad: Tensor, extents: dict[int, _Extent]) -> Tensor:
    """Note where grad may be not zero, so that nobody needs to search for it."""
    grad.peak_extents = (extents, grad._version)
    return grad


def _windows(grad: Tensor) -> list[tuple[int, tuple[slice, slice, slice, slice]]]:
    """Where grad (k, n, C, h, w) is not zero: numbers of peaks, and windows of one size."""
    extents = _extents_of(grad)
    sizes = [[axis.stop - axis.start for axis in extent] for extent in extents.values()]
    size = [max(lengths) for lengths in zip(*sizes)]
    # Smaller ones take in some zeros, within the map.
    windows = []
    for i, extent in extents.items():
        starts = [min(e.start, side - n) for e, side, n in zip(extent, grad.shape[-2:], size)]
        place = [slice(start, start + n) for start, n in zip(starts, size)]
        windows.append((i, (slice(None), slice(None), *place)))
    return windows


def _extents_of(grad: Tensor) -> dict[int, _Extent]:
    extents, version = getattr(grad, 'peak_extents', (None, None))
    return extents if version == grad._version else _search(grad)


def _search(grad: Tensor) -> dict[int, _Extent]:
    present = (grad.amax(dim=(1, 2)) != 0) | (grad.amin(dim=(1, 2)) != 0)
    extents = {}
    for i, here in enumerate(present.cpu().numpy()):
        if here.any():
            axes = (here.any(axis=1 - axis).nonzero()[0] for axis in (0, 1))
            extents[i] = tuple(slice(int(axis[0]), int(axis[-1]) + 1) for axis in axes)
    return extents


def _first(grad: Tensor, dim: int) -> Tensor:
    return grad if dim == 0 else grad.movedim(dim, 0)


def _overlap(start: int, length: int, side: int) -> tuple[slice, slice]:
    """What of ``length`` places from ``start`` on is within 0..side: there, and on the side."""
    first, last = max(start, 0), max(min(start + length, side), max(start, 0))
    return slice(first - start, last - start), slice(first, last)


def _before(
    padding: str | int | tuple[int, int], kernel: torch.Size, dilation: tuple[int, int]
) -> tuple[int, int]:
    """Rows and columns of padding above and to the left."""
    if padding == 'valid':
        return 0, 0
    if padding == 'same':
        return tuple(d * (k - 1) // 2 for d, k in zip(dilation, kernel))
    return _pair(padding)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    return tuple(value) if len(value) == 2 else (value[0], value[0])
