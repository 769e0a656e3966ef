import copy
import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mmcoseg.models.ops import PeakPropagation, find_peaks, peak_response_maps


def literal_peaks(values):
    """Plateaus without a higher neighbor, above the median, found by flooding."""
    height, width = values.shape
    seen, peaks = set(), []
    for start in [(i, j) for i in range(height) for j in range(width)]:
        if start in seen:
            continue
        plateau, todo, highest = [], [start], True
        seen.add(start)
        while todo:
            i, j = todo.pop()
            plateau.append((i, j))
            for a in range(max(i - 1, 0), min(i + 2, height)):
                for b in range(max(j - 1, 0), min(j + 2, width)):
                    if values[a, b] > values[i, j]:
                        highest = False
                    elif values[a, b] == values[i, j] and (a, b) not in seen:
                        seen.add((a, b))
                        todo.append((a, b))
        if highest and values[start] > values.flatten().quantile(0.5):
            peaks.append((values[start].item(), plateau))
    return peaks


@pytest.mark.parametrize('size', [(9, 11), (1, 13), (13, 1), (1, 1), (2, 2)])
@pytest.mark.parametrize('levels', [3, 10, 1000])
def test_peaks_equal_flooding(size, levels):
    rng = torch.Generator().manual_seed(levels)
    for _ in range(5):
        values = torch.randint(levels, size, generator=rng).double()
        found = find_peaks(values).tolist()
        expected = literal_peaks(values)
        assert len(found) == len(expected)
        for _, plateau in expected:
            assert sum(tuple(place) in plateau for place in found) == 1
        heights = [values[i, j].item() for i, j in found]
        assert heights == sorted((value for value, _ in expected), reverse=True)


def test_peaks_of_half_precision_and_what_is_not_finite():
    values = torch.tensor([[0.0, float('nan'), 0.0, 0.5], [float('inf'), 0.0, 0.0, 0.0]])
    assert find_peaks(values.half()).tolist() == [[0, 3]]


def test_a_map_without_contrast_has_no_peak():
    assert find_peaks(torch.ones(4, 5)).shape == (0, 2)


def test_a_plateau_is_one_peak_near_its_middle():
    values = torch.zeros(7, 9)
    values[2:5, 1:6] = 1
    assert find_peaks(values).tolist() == [[3, 3]]
    # A ridge that goes up at its end is none.
    values[4, 6] = 2
    assert find_peaks(values).tolist() == [[4, 6]]


def test_number_and_minimum_of_peaks():
    values = torch.zeros(5, 9)
    values[2, [1, 4, 7]] = torch.tensor([1.0, 3.0, 2.0])
    assert find_peaks(values).tolist() == [[2, 4], [2, 7], [2, 1]]
    assert find_peaks(values, max_peaks=2).tolist() == [[2, 4], [2, 7]]
    assert find_peaks(values, min_value=2.0).tolist() == [[2, 4], [2, 7]]


class Dense(torch.autograd.Function):
    """Gives ``value`` and multiplies gradients to ``x`` with ``factor``."""

    @staticmethod
    def forward(ctx, x, value, factor):
        ctx.save_for_backward(factor)
        return value.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0], None, None


class LiteralConv2d(nn.Conv2d):
    """The published way: weights and responses of every convolution, densely, for one peak."""

    def forward(self, x):
        shifted = (x - x.amin(dim=(1, 2, 3), keepdim=True)).detach()
        args = (None, self.stride, self.padding, self.dilation, self.groups)
        inside = F.conv2d(Dense.apply(x, x.detach(), shifted), self.weight.clamp(min=0), *args)
        norm = F.conv2d(shifted, self.weight.clamp(min=0), *args)
        factor = torch.where(norm > 1e-10, 1 / norm, 0.0)
        return Dense.apply(inside, super().forward(x), factor)


def literal_maps(model, image, peaks):
    """One forward and backward pass of fully literal modules a peak."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if type(module) is nn.Conv2d:
            module.__class__ = LiteralConv2d
        if isinstance(module, nn.ReLU):
            module.inplace = False
    maps = []
    for i, j in peaks.tolist():
        x = image[None].clone().requires_grad_()
        (grad,) = torch.autograd.grad(model(x)[0, 0, i, j], x)
        heat = grad[0].sum(dim=0).clamp(min=0)
        maps.append(heat / heat.sum().clamp(min=1e-30))
    return torch.stack(maps)


class Residual(nn.Module):
    """Inverted residual as in EfficientNet-Lite."""

    def __init__(self, channels, kernel=3):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 1, bias=False),
            nn.BatchNorm2d(2 * channels),
            nn.ReLU6(),
            nn.Conv2d(
                2 * channels,
                2 * channels,
                kernel,
                padding=kernel // 2,
                groups=2 * channels,
                bias=False,
            ),
            nn.BatchNorm2d(2 * channels),
            nn.ReLU6(),
            nn.Conv2d(2 * channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x):
        return x + self.body(x)


def randomize(model):
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
        elif isinstance(module, nn.Conv2d):
            module.reset_parameters()
            if module.bias is not None:
                nn.init.constant_(module.bias, 0.2)  # few channels are dead
    # Every peak has some positive ground.
    model[-1].weight.data.abs_()
    return model.eval()


def vgg_like():
    layers = []
    for i, o in ((3, 6), (6, 8), (8, 8)):
        layers += [nn.Conv2d(i, o, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
    return randomize(nn.Sequential(*layers, nn.Conv2d(8, 1, 1)))


def efficient_like():
    return randomize(
        nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU6(inplace=True),
            Residual(6),
            nn.Conv2d(6, 8, 5, stride=2, padding=2),
            Residual(8, kernel=5),
            Residual(8),
            nn.Conv2d(8, 1, 1),
        )
    )


def odd_geometry():
    return randomize(
        nn.Sequential(
            nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 0)),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True),
            nn.Conv2d(4, 6, 3, dilation=2, padding='same', groups=2),
            nn.ReLU(inplace=True),
            nn.Conv2d(6, 4, 2, padding='same'),
            nn.AvgPool2d(2, stride=1),
            nn.Conv2d(4, 4, 3, padding='valid', padding_mode='reflect'),
            nn.ReLU(),
            nn.Conv2d(4, 1, 3, stride=2, padding=2),
        )
    )


def fused(model):
    """The same function with every normalization behind a convolution in its weights."""
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        if isinstance(parent, nn.Sequential):
            for place in range(len(parent) - 1):
                if isinstance(parent[place], nn.Conv2d):
                    if isinstance(parent[place + 1], nn.BatchNorm2d):
                        parent[place] = fuse_conv_bn_eval(parent[place], parent[place + 1])
                        parent[place + 1] = nn.Identity()
    return model


def image_of(size=(48, 40)):
    return torch.randn(3, *size, generator=torch.Generator().manual_seed(3))


def some_peaks(model, image, count=7):
    with torch.no_grad():
        shape = model(image[None]).shape[-2:]
    rng = torch.Generator().manual_seed(0)
    places = torch.randperm(shape[0] * shape[1], generator=rng)[:count]
    return torch.stack([places // shape[1], places % shape[1]], dim=1)


@pytest.mark.parametrize('build', [vgg_like, efficient_like, odd_geometry])
def test_all_at_once_equal_the_literal_one_by_one(build):
    model, image = build(), image_of()
    peaks = some_peaks(model, image)
    expected = literal_maps(fused(model), image, peaks)
    maps = peak_response_maps(model, image, peaks)
    assert maps.shape == (7, 48, 40)
    torch.testing.assert_close(maps, expected, rtol=1e-3, atol=1e-6)
    # Different peaks rest on different pixels, and are not all without ground.
    assert (maps.sum(dim=(1, 2)) - 1).abs().lt(1e-4).sum() > 3
    assert not torch.allclose(maps[0], maps[1])
    for chunk_size in (1, 3):
        again = peak_response_maps(model, image, peaks, chunk_size)
        torch.testing.assert_close(again, maps, rtol=1e-4, atol=1e-7)


def test_the_walk_back_by_its_probabilities():
    # Section 3.2 of Zhou et al. for two layers, in float64, one location after the other.
    torch.manual_seed(0)
    x = torch.rand(1, 2, 4, 4, dtype=torch.float64)
    first, second = torch.randn(3, 2, 2, 2).double(), torch.randn(1, 3, 2, 2).double()
    x.requires_grad_()
    with PeakPropagation():
        y = F.relu(F.conv2d(x, first, torch.randn(3).double()))
        z = F.conv2d(y, second)
        assert torch.equal(z, F.conv2d(y.detach(), second))
    (ours,) = torch.autograd.grad(z[0, 0, 1, 0], x)

    def step(probability, source, weight):
        source = source - source.min()
        result = torch.zeros_like(source)
        for o in range(weight.shape[0]):
            for i in range(probability.shape[1]):
                for j in range(probability.shape[2]):
                    share = source[:, i : i + 2, j : j + 2] * weight[o].clamp(min=0)
                    if probability[o, i, j] != 0:
                        part = probability[o, i, j] * share / share.sum()
                        result[:, i : i + 2, j : j + 2] += part
        return result

    start = torch.zeros(1, 2, 2, dtype=torch.float64)
    start[0, 1, 0] = 1
    middle = step(start, y[0].detach(), second)
    assert middle.sum().item() == pytest.approx(1)
    middle = middle * (y[0] > 0)
    torch.testing.assert_close(ours[0], step(middle, x[0].detach(), first))


def test_images_of_a_batch_do_not_see_each_other():
    model = vgg_like()
    images = torch.stack([image_of(), 3 * image_of() - 5])
    both = images.clone().requires_grad_()
    with PeakPropagation():
        response = model(both)
    (together,) = torch.autograd.grad(response[:, 0, 2, 2].sum(), both)
    for image, grad in zip(images, together):
        image = image[None].clone().requires_grad_()
        with PeakPropagation():
            response = model(image)
        (alone,) = torch.autograd.grad(response[0, 0, 2, 2], image)
        torch.testing.assert_close(alone[0], grad, rtol=1e-4, atol=1e-7)


def test_values_are_those_of_the_model_and_nothing_stays():
    model, image = efficient_like(), image_of()
    before = copy.deepcopy(model.state_dict())
    forwards = [module.forward for module in model.modules()]
    with torch.no_grad():
        plain = model(image[None])
        with PeakPropagation():
            torch.testing.assert_close(model(image[None]), plain)

    def derivative():
        x = image[None].clone().requires_grad_()
        return torch.autograd.grad(model(x).sum(), x)[0]

    expected = derivative()
    with pytest.raises(RuntimeError, match='in between'):
        with PeakPropagation():
            model(image[None])
            raise RuntimeError('in between')
    peak_response_maps(model, image, some_peaks(model, image))
    assert torch.equal(derivative(), expected)
    assert [module.forward for module in model.modules()] == forwards
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_other_threads_are_not_affected():
    model, image = vgg_like(), image_of()
    results = []

    def work():
        x = image[None].clone().requires_grad_()
        results.append(torch.autograd.grad(model(x).sum(), x)[0])

    work()
    with PeakPropagation():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert torch.equal(*results)


def test_without_gradients_in_inference_and_half_precision():
    model, image = vgg_like(), image_of()
    peaks = some_peaks(model, image)
    expected = peak_response_maps(model, image, peaks)
    with torch.inference_mode():
        inner = image.clone()
        assert torch.equal(peak_response_maps(model, inner, peaks), expected)
    with torch.no_grad(), torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(peak_response_maps(model, image, peaks), expected)
    assert not expected.requires_grad


def test_normalization_that_stands_alone_passes_what_it_does_not_turn_over():
    norm = nn.BatchNorm2d(2).eval()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([3.0, -2.0]))
    x = torch.rand(1, 2, 3, 3, requires_grad=True)
    with PeakPropagation():
        y = norm(x)
    torch.testing.assert_close(y, norm(x))
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert (grad[:, 0] == 1).all() and (grad[:, 1] == 0).all()


def test_a_peak_rests_on_what_made_it():
    # Two bright spots; each peak's map stays with its own.
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4), nn.Conv2d(4, 1, 1)
    )
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.1)
    image = torch.zeros(3, 32, 32)
    image[:, 4:8, 4:8] = 1
    image[:, 20:26, 22:28] = 1
    with torch.no_grad():
        peaks = find_peaks(model(image[None])[0, 0])
    maps = peak_response_maps(model, image, peaks)
    assert maps[peaks.tolist().index([1, 1]), 3:9, 3:9].sum() > 0.99
    assert maps[0].sum() == pytest.approx(1, abs=1e-5)
    assert sum(m[18:29, 20:31].sum() > 0.99 for m in maps) == len(maps) - 1


def test_no_peaks_and_errors():
    model, image = vgg_like(), image_of()
    none = torch.zeros(0, 2, dtype=torch.long)
    assert peak_response_maps(model, image, none).shape == (0, 48, 40)
    with pytest.raises(ValueError, match='one map'):
        peak_response_maps(model[:-1], image, torch.tensor([[0, 0]]))


def test_models_without_a_batched_derivative_are_gone_through_one_by_one():
    class Plain(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            result = torch.zeros(grad.shape)
            result += grad.numpy() * 2  # no batch of gradients is an array
            return result

    torch.manual_seed(0)
    image, conv = torch.rand(3, 6, 6), torch.nn.Conv2d(3, 1, 3, padding=1)
    peaks = torch.tensor([[1, 2], [4, 4]])
    found = peak_response_maps(lambda x: Plain.apply(conv(x)), image, peaks)
    torch.testing.assert_close(found, peak_response_maps(conv, image, peaks))
