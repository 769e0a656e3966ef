import pytest
import torch
from torch.nn import functional as F

from mmcoseg.models.heads import CoSaliencyHead, MultiClassHead


def levels(shapes, images=2):
    rng = torch.Generator().manual_seed(0)
    return tuple(torch.randn(images, *shape, generator=rng) for shape in shapes)


@pytest.mark.parametrize('options', [{}, dict(normalize=True, align_corners=True)])
@pytest.mark.parametrize('num_classes', [1, 3])
def test_each_map_is_that_of_a_head_of_one_map(num_classes, options):
    feats = levels([(4, 12, 10), (8, 6, 5)])
    torch.manual_seed(0)
    head = MultiClassHead([4, 8], [8, 16], num_classes, lateral=True, **options)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    logits = head(feats)
    assert logits.shape[1] == num_classes + 1
    for k in range(num_classes + 1):
        single = CoSaliencyHead([4, 8], [8, 16], lateral=True, **options)
        state = {name: value[k : k + 1] for name, value in head.state_dict().items()}
        single.load_state_dict(state)
        expected = single(feats, single.coarse_logits(feats))
        torch.testing.assert_close(logits[:, k : k + 1], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(head(feats, head.coarse_logits(feats)), logits)


def test_maps_share_out_each_pixel():
    head = MultiClassHead([8], [16], num_classes=2)
    feats = levels([(8, 6, 5)])
    torch.nn.init.normal_(head.conv.weight)
    logits = head(feats)
    assert logits.shape == (2, 3, 96, 80)
    prob = head.predict_by_feat(logits.half(), (90, 70))
    assert prob.dtype == torch.float32 and prob.shape == (2, 3, 90, 70)
    torch.testing.assert_close(prob.sum(dim=1), torch.ones(2, 90, 70))
    resized = F.interpolate(logits, (90, 70), mode='bilinear')
    torch.testing.assert_close(head.predict_by_feat(logits, (90, 70)), resized.softmax(dim=1))


def test_maps_differ_from_the_beginning():
    torch.manual_seed(0)
    head = MultiClassHead([8], [4], num_classes=2)
    (feats,) = levels([(8, 6, 6)])
    prob = head.predict_by_feat(head((feats,)), (24, 24))
    assert prob.std(dim=1).mean() > 1e-3
    head((feats,)).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in head.parameters())


@pytest.mark.parametrize('num_classes', [0, 1.5, None])
def test_wrong_number_of_classes(num_classes):
    with pytest.raises(ValueError, match='num_classes must be a whole number, at least 1'):
        MultiClassHead([8], [16], num_classes)


def test_strides_as_of_the_other_head():
    with pytest.raises(ValueError, match='MultiClassHead needs one stride a level'):
        MultiClassHead([3, 4], [16, 8], 2)
