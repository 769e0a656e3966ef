"""How many classes recur in a group."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_samples

from mmcoseg.models.ops import ClassCount, count_classes
from mmcoseg.models.ops.class_count import class_evidence


def group(kinds, noise=0.3, seed=0, d=16, size=9):
    """Images that each show one object, a Gaussian about its kind's mean, and where it is.

    What has found it looks for one object, and is not as sure of those of other kinds.
    """
    rng = torch.Generator().manual_seed(seed)
    features = noise * torch.randn(len(kinds), d, size, size, generator=rng)
    features += noise * torch.randn(len(kinds), d, 1, 1, generator=rng)
    foreground = torch.zeros(len(kinds), size, size)
    for image, kind in enumerate(kinds):
        top = int(torch.randint(0, size - 4, (1,), generator=rng))
        foreground[image, top : top + 4, 2:7] = 0.9 if kind else 1
        features[image, kind, top : top + 4, 2:7] += 3
    return features, foreground


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('number', [1, 2, 3])
def test_gaussians(number, seed):
    count = count_classes(*group([i % number for i in range(12)], seed=seed))
    assert count.num_classes == number and count.is_sure
    assert len(count.shares) == 4 and sum(count.shares) == pytest.approx(1)
    assert min(count.shares) >= 0


def test_noise_makes_it_less_sure():
    shares = [
        np.mean([count_classes(*group([0, 1] * 6, noise, seed)).shares[1] for seed in range(4)])
        for noise in (0.2, 1, 2)
    ]
    assert shares[0] > shares[1] > shares[2]


def test_images_in_which_no_object_is_certain_speak_for_more_classes():
    features, foreground = group([0] * 12)
    means = []
    for largest in (1, 0.9, 0.5):
        foreground[6:] = foreground[6:].clamp(max=largest)
        shares = count_classes(features, foreground).shares
        means.append(sum(k * share for k, share in enumerate(shares, 1)))
    assert means[0] < means[1] < means[2]


def test_evidence_against_its_definition():
    rng = torch.Generator().manual_seed(0)
    features, foreground = group([0, 1, 2, 3, 0, 1, 2, 0, 1])
    foreground *= torch.rand(9, 9, 9, generator=rng)
    missed, silhouettes, different = class_evidence(features, foreground)
    largest = foreground.amax(dim=(1, 2))
    assert missed == pytest.approx(np.log(1.02 - largest.numpy()).mean(), rel=1e-5)
    weights = foreground * (foreground >= largest[:, None, None] / 2)
    objects = (weights[:, None] * features).sum((2, 3)) / weights.sum((1, 2))[:, None]
    for k in (2, 3, 4):
        labels = KMeans(k, n_init=200, random_state=0).fit_predict(objects.double().numpy())
        values = silhouette_samples(objects, labels)
        best = np.mean([values[labels == kind].mean() for kind in range(k)])
        assert silhouettes[k - 1] == pytest.approx(best, abs=0.01)
    assert silhouettes[0] == 0 and len(silhouettes) == 4 and different == 9


def test_order_and_copies_of_the_images_change_nothing():
    features, foreground = group([0, 1, 1, 2, 0, 2, 1, 2, 0, 3], noise=0.8)
    shares = count_classes(features, foreground).shares
    for seed in range(3):
        order = torch.randperm(10, generator=torch.Generator().manual_seed(seed))
        again = count_classes(features[order], foreground[order]).shares
        assert again == pytest.approx(shares, abs=1e-4)
    for copies in (2, 3):
        again = count_classes(
            features.repeat(copies, 1, 1, 1), foreground.repeat(copies, 1, 1)
        ).shares
        assert again == pytest.approx(shares, abs=1e-3)
    one = [part.repeat(3, *[1] * (part.dim() - 1)) for part in group([0])]
    assert count_classes(*one).shares == (1, 0, 0, 0)


def test_an_image_that_is_like_no_other_is_half_as_good_as_a_class():
    kinds = [0] * 10
    (_, single, *_), (_, pair, *_) = (
        class_evidence(*group([*kinds, *[5] * odd], noise=0.1))[1] for odd in (1, 2)
    )
    assert pair > 0.8 and single == pytest.approx(pair / 2, abs=0.1)


def test_half_precision_and_unrotated_features():
    features, foreground = group([0, 1] * 5)
    shares = count_classes(features, foreground).shares
    assert count_classes(features.half(), foreground).shares == pytest.approx(shares, abs=0.02)
    rotation = torch.linalg.qr(torch.randn(16, 16, dtype=torch.float64)).Q.float()
    rotated = torch.einsum('ndhw,de->nehw', features, rotation)
    assert count_classes(rotated, foreground).shares == pytest.approx(shares, abs=1e-3)


def test_few_images():
    assert count_classes(*group([0])).shares == (1, 0, 0, 0)
    shares = count_classes(*group([0, 1])).shares
    assert shares[2:] == (0, 0) and shares[0] > shares[1] > 0
    shares = count_classes(*group([0, 0, 1])).shares
    assert shares[3] == 0 and min(shares[:3]) > 0


def test_nothing_found():
    features, foreground = group([0, 1, 0])
    shares = count_classes(features, 0 * foreground).shares
    assert all(np.isfinite(shares)) and sum(shares) == pytest.approx(1)
    same = torch.ones(5, 4, 3, 3), torch.ones(5, 3, 3)
    assert count_classes(*same).num_classes == 1
    foreground[1] = 0  # in one image
    assert all(np.isfinite(count_classes(features, foreground).shares))


def test_the_largest_number():
    data = group([0, 1, 2] * 4)
    for most in (1, 2, 3):
        count = count_classes(*data, max_classes=most)
        assert len(count.shares) == most == count.num_classes
        assert sum(count.shares) == pytest.approx(1)
    assert len(count_classes(*data, max_classes=9).shares) == 4


def test_in_words():
    assert str(ClassCount((0.09, 0.71, 0.2))) == '2 classes (sure: 0.71; next 3: 0.20)'
    assert str(ClassCount((0.46, 0.3, 0.24))) == '1 class (unsure: 0.46; next 2: 0.30)'
    assert str(ClassCount((1.0,))) == '1 class (sure: 1.00)'
    tie = ClassCount((0.25, 0.25, 0.25, 0.25))
    assert tie.num_classes == 1 and not tie.is_sure
