import pytest
import torch
from torch.nn import functional as F

from mmcoseg.models.necks import GatedAttention, MutualAttention, SelfAttention
from mmcoseg.registry import MODELS


def features(images=5, channels=6, size=(4, 3)):
    rng = torch.Generator().manual_seed(0)
    return torch.randn(images, channels, *size, generator=rng, dtype=torch.float64)


def build(kind, **options):
    torch.manual_seed(0)
    return MODELS.build(dict(type=kind, in_channels=6, **options)).double()


def literal_pair(module, anchor, reference):
    """MA of one pair (section 3.2): the convolution for each reference by itself."""
    query = module.query(reference[None])[0].flatten(1)
    key, value = module.key(anchor[None])[0].flatten(1), module.value(anchor[None])
    v = torch.softmax(query.t() @ key, dim=1).sum(dim=0)
    a = torch.sigmoid(key.shape[0] ** -0.5 * v).view(1, 1, *anchor.shape[1:])
    return module.out(torch.cat([a * value, (1 - a) * value], dim=1))[0]


def test_mutual_attention_is_the_mean_over_the_other_images_of_the_group():
    module, x = build('MutualAttention'), features()
    assert module.query.out_channels == 3
    out = module(x, [3, 2])
    for group in (range(3), range(3, 5)):
        for i in group:
            pairs = [literal_pair(module, x[i], x[j]) for j in group if j != i]
            torch.testing.assert_close(out[i], torch.stack(pairs).mean(dim=0))


def test_mutual_attention_of_one_image_is_zero():
    module, x = build('MutualAttention'), features(3).requires_grad_()
    out = module(x, [2, 1])
    assert (out[2] == 0).all() and out[:2].abs().sum() > 0
    torch.testing.assert_close(out[:2], module(x[:2], [2]))
    out.sum().backward()
    assert (x.grad[2] == 0).all() and x.grad[:2].abs().sum() > 0


def test_self_attention_looks_at_one_image():
    module, x = build('SelfAttention'), features()
    out = module(x, [3, 2])
    for image, expected in zip(x, out):
        q, k, v = (
            conv(image[None])[0].flatten(1) for conv in (module.query, module.key, module.value)
        )
        attended = torch.softmax(q.t() @ k, dim=1) @ v.t()
        torch.testing.assert_close(attended.t().view(image.shape), expected)


@pytest.mark.parametrize('removed', [None, 'self_attention', 'mutual_attention'])
def test_the_gate_begins_closed_and_opens(removed):
    options = {removed: None} if removed else {}
    module, x = build('GatedAttention', **options), features()
    torch.testing.assert_close(module(x, [3, 2]), x, rtol=0, atol=0)
    module(x, [3, 2]).square().sum().backward()
    assert module.gamma.grad.abs() > 0
    torch.nn.init.constant_(module.gamma, 0.5)
    expected = x.clone()
    for name, part in module.parts.items():
        assert isinstance(part, dict(self=SelfAttention, mutual=MutualAttention)[name])
        expected += 0.5 * part(x, [3, 2])
    assert len(module.parts) == (1 if removed else 2)
    torch.testing.assert_close(module(x, [3, 2]), expected)
    module.zero_grad()
    module(x, [3, 2]).square().sum().backward()
    # A bias of the queries or keys may shift whole rows of scores, which changes nothing.
    assert all(p.grad.abs().sum() > 0 for n, p in module.named_parameters() if 'bias' not in n)


def test_without_either_part():
    module, x = build('GatedAttention', self_attention=None, mutual_attention=None), features()
    assert module(x, [5]) is x and not list(module.parameters())


def test_half_precision():
    torch.manual_seed(0)
    module, x = GatedAttention(6), features().float()
    torch.nn.init.constant_(module.gamma, 0.5)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = module(100 * x, [3, 2])
        F.mse_loss(out.float(), torch.zeros_like(x)).backward()
    assert out.isfinite().all()
    assert all(p.grad.isfinite().all() for p in module.parameters())
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = module(x, [3, 2])
    torch.testing.assert_close(out.float(), module(x, [3, 2]), rtol=0.02, atol=0.02)


def test_no_channel_is_left():
    with pytest.raises(ValueError, match='in_channels of MutualAttention .* at least 2, got 1'):
        MutualAttention(1)
