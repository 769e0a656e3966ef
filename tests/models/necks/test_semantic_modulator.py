import pytest
import torch

from mmcoseg.models.necks import Modulation, SecondOrderPooling, SemanticModulator


@pytest.fixture
def modulator():
    torch.manual_seed(0)
    return SemanticModulator(6, channels=10, reduced_channels=4, num_classes=3).double()


def feats(n):
    return (torch.randn(n, 6, 5, 3, dtype=torch.float64),)


@pytest.mark.parametrize('centered', [True, False])
def test_second_order_pooling_is_the_literal_definition(centered):
    pool = SecondOrderPooling(6, 4, 10, centered).double()
    x = torch.randn(1, 6, 15, dtype=torch.float64)
    reduced = pool.reduce.weight[:, :, 0] @ x[0]
    if centered:
        reduced = reduced - reduced.mean(dim=1, keepdim=True)
    else:
        reduced = reduced + pool.reduce.bias[:, None]
    moments = torch.zeros(4, 4, dtype=torch.float64)
    for i in range(4):
        for j in range(4):
            moments[i, j] = sum(reduced[i, p] * reduced[j, p] for p in range(15)) / 15
    expected = pool.fc.weight @ moments.flatten() + pool.fc.bias
    torch.testing.assert_close(pool(x)[0], expected)


def test_gamma_ignores_the_order_of_the_images(modulator):
    levels = feats(5)
    gamma = modulator(levels, [5]).scale
    shuffled = modulator((levels[0][[3, 1, 4, 0, 2]],), [5]).scale
    torch.testing.assert_close(gamma, shuffled)
    torch.testing.assert_close(gamma[0], gamma[4])


def test_gamma_ignores_a_doubled_group(modulator):
    levels = feats(3)
    once = modulator(levels, [3]).scale[0]
    twice = modulator((levels[0].repeat(2, 1, 1, 1),), [6]).scale[0]
    torch.testing.assert_close(once, twice)


def test_groups_of_a_batch_are_independent(modulator):
    levels = feats(6)
    together = modulator(levels, [1, 3, 2]).scale
    apart = torch.cat(
        [modulator((part,), [len(part)]).scale for part in levels[0].split([1, 3, 2])]
    )
    torch.testing.assert_close(together, apart)


@pytest.mark.parametrize('size', [1, 5])
def test_gamma_of_equal_images_depends_on_what_they_show(modulator, size):
    first, second = (
        modulator((feats(1)[0].expand(size, -1, -1, -1),), [size]).scale[0] for _ in range(2)
    )
    relative = (first - second).abs().max() / (first - modulator.group_pooling.fc.bias).abs().max()
    assert relative > 0.1


def test_loss_is_equation_12(modulator):
    gamma = torch.randn(2, 10, dtype=torch.float64)
    labels = torch.tensor([[1.0, 0, 1], [0, 0, 1]])
    loss = modulator.loss(Modulation(state=dict(gamma=gamma)), [3, 2], labels)['loss_sem']
    y = torch.sigmoid(gamma @ modulator.classifier.weight.t() + modulator.classifier.bias)
    expected = -(labels * y.log() + (1 - labels) * (1 - y).log()).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_groups_without_a_label_do_not_count(modulator):
    gamma = torch.randn(2, 10, dtype=torch.float64)
    labels = torch.tensor([[1.0, 0, 1], [float('nan')] * 3])
    both = modulator.loss(Modulation(state=dict(gamma=gamma)), [3, 2], labels)['loss_sem']
    one = modulator.loss(Modulation(state=dict(gamma=gamma[:1])), [3], labels[:1])['loss_sem']
    assert both.isfinite() and both == one
    assert modulator.loss(Modulation(state=dict(gamma=gamma)), [3, 2], None) == {}


def test_gradient_reaches_every_parameter(modulator):
    modulation = modulator(feats(5), [3, 2])
    labels = torch.tensor([[1.0, 0, 0], [0, 1, 0]])
    modulator.loss(modulation, [3, 2], labels)['loss_sem'].backward()
    for name, parameter in modulator.named_parameters():
        assert parameter.grad.isfinite().all(), name
        # Rounding alone gives 1e-17 here.
        assert parameter.grad.abs().max() > 1e-8, name


def test_gradcheck_of_the_scale(modulator):
    x = torch.randn(3, 6, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: modulator((x,), [2, 1]).scale, x)


def test_wrong_number_of_classes_is_named(modulator):
    with pytest.raises(ValueError, match=r'labels have 4 categories.*num_classes=3'):
        modulator.loss(modulator(feats(2), [2]), [2], torch.zeros(1, 4))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_large_features_are_pooled_in_float32_under_autocast(modulator, dtype):
    modulator = modulator.float()
    levels = (300 * feats(5)[0].float(),)
    labels = torch.tensor([[1.0, 0.0, 1.0]])
    expected = modulator(levels, [5])
    with torch.autocast('cpu', dtype=dtype):
        found = modulator(levels, [5])
        loss = modulator.loss(found, [5], labels)['loss_sem']
    assert torch.equal(found.scale, expected.scale)
    assert torch.equal(loss, modulator.loss(expected, [5], labels)['loss_sem'])
