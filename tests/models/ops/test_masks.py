import torch

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
