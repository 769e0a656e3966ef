import torch

from mmcoseg.evaluation.functional import binarize_adaptive
from mmcoseg.models.ops import mask_of_prob


def test_one_object_is_cut_at_the_threshold():
    prob = torch.tensor([[[0.0, 0.5], [0.49, 1.0]]])
    assert mask_of_prob(prob, (2, 2)).tolist() == [[[0, 1], [0, 1]]]
    assert mask_of_prob(prob, (2, 2), threshold=0.4).tolist() == [[[0, 1], [1, 1]]]


def test_several_labels_and_other_sizes():
    prob = torch.zeros(3, 2, 3, dtype=torch.float16)
    for label in range(3):
        prob[label, :, label] = 1
    mask = mask_of_prob(prob, (4, 9))
    assert mask.dtype == torch.uint8
    assert mask.tolist() == [[[0] * 3 + [1] * 3 + [2] * 3] * 4]


def test_adaptive_threshold_is_the_rule_of_the_published_protocol():
    rng = torch.Generator().manual_seed(0)
    maps = [
        0.3 * torch.rand(1, 9, 7, generator=rng),
        0.7 + 0.3 * torch.rand(1, 9, 7, generator=rng),
    ]
    maps += [torch.full((1, 9, 7), value) for value in (0.0, 0.1, 0.9)]
    for prob in maps:
        expected = binarize_adaptive(prob[0].numpy())
        mask = mask_of_prob(prob, (9, 7), threshold='adaptive')
        assert mask.shape == (1, 9, 7) and mask.dtype == torch.uint8
        assert (mask[0].numpy().astype(bool) == expected).all()
