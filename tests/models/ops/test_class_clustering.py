"""Telling recurring classes apart: by construction, against literal definitions, invariances."""

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from mmcoseg.models.ops import class_discriminants, cluster_classes
from mmcoseg.models.ops.class_clustering import _most_agreed

#: Where the two classes and a third thing, at the border, are in images of 20 x 20.
PLACES = dict(first=(slice(4, 10), slice(4, 9)), second=(slice(11, 16), slice(10, 17)))


def group(n=6, num_classes=2, noise=0.15, seed=0, d=12):
    """Features with a direction for each class and two kinds of background; true labels."""
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.normal(size=(d, d)))[0]
    labels = np.zeros((n, 20, 20), int)
    for i in range(n):
        for number, (rows, columns) in enumerate(list(PLACES.values())[:num_classes], 1):
            shift = rng.integers(-2, 3, 2)
            labels[i, rows.start + shift[0] : rows.stop + shift[0]][
                :, columns.start + shift[1] : columns.stop + shift[1]
            ] = number
    features = directions[labels]
    ground = labels == 0
    ground[:, :, 10:] = False
    features[ground] = directions[5]  # the left of the background looks otherwise
    features = features + noise * rng.normal(size=features.shape)
    return torch.from_numpy(features).permute(0, 3, 1, 2).float(), torch.from_numpy(labels)


def agreement(shares, labels):
    """Share of locations that are right by the best of both namings."""
    found = shares.argmax(dim=1)
    swapped = torch.tensor([0, 2, 1])[found]
    return max((found == labels).float().mean(), (swapped == labels).float().mean()).item()


def test_both_classes_are_found_though_the_foreground_knows_only_one():
    features, labels = group()
    foreground = (labels == 1).float()
    shares = cluster_classes(features, foreground, 2)
    assert shares.shape == (6, 3, 20, 20)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(6, 20, 20))
    assert agreement(shares, labels) > 0.97
    # Inside this foreground there is but one class to find.
    assert agreement(cluster_classes(features, foreground, 2, 'foreground'), labels) < 0.95


def test_parts_of_one_object_are_one_class():
    """The first class has an upper and a lower part, more alike than the second class is."""
    features, labels = group()
    rng = np.random.default_rng(1)
    mark = torch.from_numpy(rng.normal(size=12)).float()
    mark = mark / mark.norm()
    upper = torch.zeros(20, 20, dtype=torch.bool)
    upper[:7] = True
    for i, sign in ((upper, 1.0), (~upper, -1.0)):
        inside = (labels == 1) & i
        features.permute(0, 2, 3, 1)[inside] += sign * 0.8 * mark
    foreground = (labels == 1).float()
    shares = cluster_classes(features, foreground, 2)
    assert agreement(shares, labels) > 0.97
    # The parts by themselves are what three classes are.
    three = cluster_classes(features, foreground, 3).argmax(dim=1)
    firsts = [set(three[(labels == 1) & part].tolist()) - {0} for part in (upper, ~upper)]
    assert len(set.union(*firsts)) == 2


def test_the_typical_classes_are_what_most_draws_say():
    """Two draws agree but for the order of the classes and a location; a third is alone."""
    one = torch.zeros(12, 2)
    one[:4, 0], one[4:8, 1] = 1, 1
    other = one.flip(1).clone()
    other[8, 0] = 1  # belongs to what is class 1 of the first
    alone = torch.zeros(12, 2)
    alone[2:6, 0], alone[8:, 1] = 1, 1
    found = _most_agreed([alone, one, other])
    expected = one.clone()
    expected[8, 1] = 0.5
    assert torch.equal(found, expected) or torch.equal(found, expected.flip(1))
    assert torch.equal(_most_agreed([alone]), alone)


def test_inside_the_foreground():
    features, labels = group()
    shares = cluster_classes(features, (labels > 0).float(), 2, 'foreground')
    assert agreement(shares, labels) > 0.99
    assert set(shares.unique().tolist()) == {0.0, 1.0}
    nothing = cluster_classes(features, torch.zeros(6, 20, 20), 2, 'foreground')
    assert (nothing[:, 0] == 1).all()


def test_all_locations_with_the_background_by_its_border():
    features, labels = group(noise=0.05)
    features[(labels == 0)[:, None].expand_as(features)] = 0  # one kind of background
    shares = cluster_classes(features, torch.zeros(6, 20, 20), 2, 'all')
    assert agreement(shares, labels) == 1


def test_one_class():
    features, labels = group(num_classes=1)
    shares = cluster_classes(features, (labels == 1).float(), 1)
    assert shares.shape[1] == 2
    assert ((shares[:, 1] > 0.5) == (labels == 1)).float().mean() > 0.97


@pytest.mark.slow
@pytest.mark.parametrize('method', ['objects', 'foreground', 'all'])
def test_order_of_images_and_rotations_of_features_do_not_matter(method):
    features, labels = group()
    foreground = 0.2 + 0.6 * (labels > 0).float()
    expected = cluster_classes(features, foreground, 2, method)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    found = cluster_classes(features[order], foreground[order], 2, method)
    torch.testing.assert_close(found, expected[order], atol=1e-5, rtol=0)
    rotation = torch.linalg.qr(torch.randn(12, 12, generator=torch.manual_seed(0)))[0]
    turned = torch.einsum('ndhw,de->nehw', features, rotation) + 3.0
    found = cluster_classes(turned, foreground, 2, method)
    assert (found.argmax(1) == expected.argmax(1)).float().mean() > 0.98


def test_small_groups_and_identical_images():
    features, labels = group(n=1)
    shares = cluster_classes(features, (labels > 0).float(), 2)
    assert shares.shape == (1, 3, 20, 20) and torch.isfinite(shares).all()
    same = cluster_classes(features.repeat(3, 1, 1, 1), (labels > 0).float().repeat(3, 1, 1), 2)
    assert torch.equal(same[0], same[1]) and torch.equal(same[0], same[2])
    flat = cluster_classes(torch.ones(2, 12, 20, 20), torch.zeros(2, 20, 20), 2)
    assert torch.isfinite(flat).all()


def test_discriminants_against_scikit_learn():
    """With hard labels and no ridge it is LDA by the maximum-likelihood covariance."""
    features, labels = group(noise=0.6)
    shares = torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float()
    found = class_discriminants(features, shares, ridge=0.0)
    rows = features.permute(0, 2, 3, 1).reshape(-1, 12).double().numpy()
    literal = LinearDiscriminantAnalysis(solver='lsqr').fit(rows, labels.flatten().numpy())
    expected = torch.from_numpy(literal.predict_proba(rows)).view(6, 20, 20, 3)
    torch.testing.assert_close(found.double(), expected.permute(0, 3, 1, 2), atol=2e-4, rtol=0)


def test_discriminants_of_soft_labels_against_the_definition():
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(2, 5, 4, 3, generator=rng)
    shares = torch.rand(2, 3, 4, 3, generator=rng).softmax(dim=1)
    rows, weights = x.permute(0, 2, 3, 1).reshape(-1, 5).double(), shares.permute(0, 2, 3, 1)
    weights = weights.reshape(-1, 3).double()
    within, means = torch.zeros(5, 5, dtype=torch.float64), []
    for k in range(3):
        means.append((weights[:, k, None] * rows).sum(0) / weights[:, k].sum())
        for row, weight in zip(rows, weights[:, k]):
            within += weight * torch.outer(row - means[k], row - means[k]) / len(rows)
    within += 0.3 * within.diagonal().mean() * torch.eye(5)
    logits = torch.stack(
        [
            (rows @ torch.linalg.solve(within, m))
            - 0.5 * m @ torch.linalg.solve(within, m)
            + weights[:, k].mean().log()
            for k, m in enumerate(means)
        ],
        dim=1,
    )
    expected = logits.softmax(1).view(2, 4, 3, 3).permute(0, 3, 1, 2)
    found = class_discriminants(x, shares, ridge=0.3)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=0)
