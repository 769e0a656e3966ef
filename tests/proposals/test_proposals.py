"""Object proposals: every shortcut against its literal definition, then masks of pictures."""

import cv2
import numpy as np
import pytest

from mmcoseg.errors import MMCosegError
from mmcoseg.proposals import (
    combinatorial_grouping,
    diverse_order,
    load_proposals_mat,
    order,
    trees,
)
from mmcoseg.proposals import grouping as module
from mmcoseg.proposals.graph import RegionGraph, centers_of
from mmcoseg.saliency import load_saliency_mat


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def picture(height=90, width=120):
    """A noisy ground with a red ellipse and a green box; the picture and both masks."""
    noise = np.random.default_rng(0).integers(-12, 13, (height, width, 3))
    image = np.full((height, width, 3), (150, 120, 60))
    masks = np.zeros((2, height, width), np.uint8)
    cv2.ellipse(masks[0], (width // 3, height // 2), (width // 6, height // 4), 20, 0, 360, 1, -1)
    masks[1, height // 4 : height // 2, 2 * width // 3 : 5 * width // 6] = 1
    image[masks[0] > 0] = (40, 50, 190)
    image[masks[1] > 0] = (40, 190, 50)
    return np.clip(image + noise, 0, 255).astype(np.uint8), masks > 0


def random_masks(rng, n=9, height=13, width=11):
    masks = cv2.resize(rng.random((7, 6, n)), (width, height)).transpose(2, 0, 1) > 0.5
    masks[0], masks[1] = False, True
    return masks


def iou(one, other):
    return (one & other).sum() / max((one | other).sum(), 1)


# --- suppression and combination


@pytest.mark.parametrize('thresholds', [(0.5,), (0.95,), (0.3, 0.6, 0.9)])
@pytest.mark.parametrize('limit', [None, 7])
def test_order_is_that_of_greedy_suppression_in_rounds(rng, thresholds, limit, monkeypatch):
    monkeypatch.setattr(order, 'OVERLAP_BLOCK', 7)  # several blocks
    membership, sizes = rng.random((40, 8)) < 0.5, rng.integers(1, 9, 8)
    membership[3] = False
    pixels = np.repeat(membership, sizes, axis=1)
    taken = []
    for threshold in thresholds:
        for i in range(40):
            alike = any(iou(pixels[i], pixels[j]) > threshold for j in taken)
            if i not in taken and not alike and (limit is None or len(taken) < limit):
                taken.append(i)
    assert diverse_order(membership, sizes, thresholds, limit).tolist() == taken


def test_order_of_no_masks_is_empty():
    assert diverse_order(np.zeros((0, 3), bool), np.ones(3), (0.5,)).tolist() == []


@pytest.mark.parametrize('converges', [True, False])
def test_eigenvectors_solve_the_normalized_cut(rng, converges, monkeypatch):
    labels = np.arange(60).reshape(6, 10).repeat(3, 0).repeat(3, 1)
    graph = RegionGraph.of(labels, [rng.random(labels.shape) for _ in range(3)])
    means = rng.normal(size=(60, 6))
    means[:30] += 4  # the upper half is of another kind
    if not converges:

        def fails(*_, **__):
            raise trees.ArpackNoConvergence('none', [], [])

        monkeypatch.setattr(trees, 'eigsh', fails)
    vectors = trees.normalized_cut(means, graph)
    assert vectors.shape == (60, trees.EIGENVECTORS)
    halves = vectors[:30, 0], vectors[30:, 0]
    assert max(half.min() for half in halves) > min(half.max() for half in halves)
    apart = (means[graph.first] - means[graph.second]) * [0.5, 1.5, 1.5, 1, 1, 1]
    weights = np.zeros((60, 60))
    color = np.linalg.norm(apart, axis=1)
    edges = graph.strengths @ [1, 0.7, 0.5]
    for i, (a, b) in enumerate(zip(graph.first, graph.second)):
        like = np.exp(-color[i] / np.median(color)) * np.exp(-edges[i] / np.median(edges))
        weights[a, b] = weights[b, a] = graph.lengths[i] * (like + 1e-6)
    degrees = np.diag(weights.sum(1))
    left, right = (degrees - weights) @ vectors, degrees @ vectors
    values = (left * right).sum(0) / np.square(right).sum(0)
    np.testing.assert_allclose(left, right * values, atol=1e-8 * np.abs(left).max())
    # The length of each in the graph's metric is 1 / sqrt(eigenvalue).
    np.testing.assert_allclose((vectors * right).sum(0), 1 / values, rtol=1e-6)
    assert (np.diff(values) > 0).all()


def test_combinations_are_disjoint_neighbors_of_one_tree(rng, monkeypatch):
    monkeypatch.setattr(module, 'MIN_AREA', 0)
    monkeypatch.setattr(module, 'MAX_AREA', 0.9)
    labels = np.arange(12).reshape(3, 4).repeat(2, 0).repeat(2, 1)
    graph = RegionGraph.of(labels, [rng.random(labels.shape)])
    # A tree: merge random neighbors.
    parents, alive = np.arange(23), {i: {i} for i in range(12)}
    touches = {frozenset(e) for e in zip(graph.first.tolist(), graph.second.tolist())}

    def adjacent(one, other):
        return any(frozenset((a, b)) in touches for a in one for b in other)

    altitudes = np.r_[np.zeros(12), np.sort(rng.random(11))]
    for new in range(12, 23):
        pairs = [(a, b) for a in alive for b in alive if a < b and adjacent(alive[a], alive[b])]
        a, b = pairs[rng.integers(len(pairs))]
        parents[a] = parents[b] = new
        alive[new] = alive.pop(a) | alive.pop(b)
    found = module._regions(parents, altitudes, graph)
    combined = module._combinations(found, graph, centers_of(labels), 100, 100)
    regions = [frozenset(np.flatnonzero(row).tolist()) for row in combined.membership]
    assert regions.pop() == frozenset()
    none, unions = len(regions), {}
    for part, score, mark in zip(combined.parts.tolist(), combined.scores, combined.marks):
        chosen = [regions[p] for p in part if p < none]
        union = frozenset().union(*chosen)
        assert sum(map(len, chosen)) == len(union) <= 0.9 * 12
        # The score from the mask itself.
        mask = np.isin(labels, list(union))
        padded = np.pad(mask, 1)
        inside = sum(int((np.diff(mask.astype(int), axis=axis) != 0).sum()) for axis in (0, 1))
        edge = sum(int(line.sum()) for line in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
        assert padded.sum() == mask.sum()
        expected = -np.log1p(sum(p for p in part if p < none))
        expected -= module.BORDER_PENALTY * edge / (inside + edge)
        expected -= module.RAGGED_PENALTY * np.log((inside + edge) / np.sqrt(mask.sum()))
        y, x = mask.nonzero()
        down, across = module.CENTER_PENALTY
        expected -= down * abs(y.mean() - 2.5) / 8 + across * abs(x.mean() - 3.5) / 8
        assert score == pytest.approx(expected)
        assert unions.setdefault(mark, union) == union  # the same mark: the same pixels
    assert len(unions) == len(set(unions.values()))
    # All pairs and triplets that hang together, by trying them.
    apart = [(a, b) for a in range(len(regions)) for b in range(a) if not regions[a] & regions[b]]
    expected = set(regions)
    for a, b in apart:
        if adjacent(regions[a], regions[b]):
            expected.add(regions[a] | regions[b])
            for c in range(len(regions)):
                free = not regions[c] & (regions[a] | regions[b])
                if free and adjacent(regions[c], regions[a] | regions[b]):
                    expected.add(regions[a] | regions[b] | regions[c])
    expected = {u for u in expected if len(u) <= 0.9 * 12}
    assert set(unions.values()) == expected


# --- pictures


def test_finds_the_objects_of_a_picture():
    image, masks = picture()
    before = image.copy()
    proposals = combinatorial_grouping(image)
    np.testing.assert_array_equal(image, before)
    found = proposals.masks()
    for mask in masks:
        assert max(iou(mask, other) for other in found[:100]) > 0.85
    assert (np.diff(proposals.scores) < 0).all()
    areas = proposals.areas() / mask.size
    assert 0.003 < areas.min() and areas.max() <= 0.81
    again = combinatorial_grouping(image)
    np.testing.assert_array_equal(again.superpixels, proposals.superpixels)
    np.testing.assert_array_equal(again.membership, proposals.membership)


def test_pairs_join_the_parts_of_an_object():
    image = np.full((80, 80, 3), (150, 120, 60), np.uint8)
    image[20:40, 30:50], image[40:60, 30:50] = (40, 50, 190), (30, 220, 220)
    whole = np.zeros((80, 80), bool)
    whole[20:60, 30:50] = True
    assert max(iou(whole, mask) for mask in combinatorial_grouping(image).masks()) > 0.9


def test_no_two_proposals_are_nearly_the_same():
    proposals = combinatorial_grouping(picture(60, 80)[0], max_proposals=60)
    assert len(proposals) <= 60
    both = proposals.sums(proposals.masks().astype(float))
    union = proposals.areas()[:, None] + proposals.areas() - both
    np.fill_diagonal(both, 0)
    assert (both / union).max() <= 0.76  # that of the first round


@pytest.mark.parametrize('shape', [(1, 1), (1, 2), (2, 1), (1, 40), (40, 1), (2, 2), (5, 400)])
@pytest.mark.parametrize('channels', [(), (3,)])
def test_odd_images_have_proposals(rng, shape, channels):
    for image in (np.full(shape + channels, 90), rng.integers(0, 256, shape + channels)):
        proposals = combinatorial_grouping(image.astype(np.uint8))
        assert len(proposals) and proposals.shape[1:] == shape
        assert (proposals.areas() > 0).all()


def test_an_image_of_one_color_is_its_only_proposal():
    proposals = combinatorial_grouping(np.full((50, 70, 3), 128, np.uint8))
    assert proposals.masks().shape == (1, 50, 70) and proposals.masks().all()


def test_large_images_cost_little_more():
    image, masks = picture()
    large = cv2.resize(image, (1200, 900), interpolation=cv2.INTER_NEAREST)
    proposals = combinatorial_grouping(large)
    assert proposals.shape[1:] == (900, 1200)
    mask = cv2.resize(masks[0].astype(np.uint8), (1200, 900), interpolation=cv2.INTER_NEAREST)
    both = proposals.sums(mask[None].astype(float))[0]
    assert (both / (mask.sum() + proposals.areas() - both)).max() > 0.85


def test_rejects_what_is_no_image():
    with pytest.raises(MMCosegError, match='uint8'):
        combinatorial_grouping(np.zeros((4, 4, 3)))
    with pytest.raises(ValueError, match='not empty'):
        combinatorial_grouping(np.zeros((0, 4, 3), np.uint8))


def test_rejects_settings_without_meaning():
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="'fur'"):
        combinatorial_grouping(image, trees=('fur',))
    with pytest.raises(ValueError, match='max_proposals must be a whole number, at least 1, got 0'):
        combinatorial_grouping(image, max_proposals=0)


@pytest.mark.slow
def test_recall_on_photographs(coseg_data):
    best = []
    for file in sorted((coseg_data / 'pascal_coseg' / 'images').glob('*/*.jpg'))[5::58]:
        path = coseg_data / 'pascal_coseg' / 'masks' / file.parent.name / f'{file.stem}.png'
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 127
        proposals = combinatorial_grouping(cv2.imread(str(file)))
        assert len(proposals) <= 2000
        both = proposals.sums(mask[None])[0]
        best.append((both / (mask.sum() + proposals.areas() - both)).max())
    assert np.mean(best) > 0.65, best


# --- published files


@pytest.mark.parametrize('hdf5', [True, False])
def test_reads_published_files(rng, tmp_path, hdf5):
    masks, scores = random_masks(rng), rng.random(9)
    saliency = rng.random((13, 11))
    path = tmp_path / 'x.mat'
    # In MATLAB (H, W, n) and (n, 1); HDF5 has it the other way round.
    arrays = dict(masks=masks.transpose(1, 2, 0).astype(np.uint8), scores=scores[:, None])
    arrays['SalMap'] = saliency
    if hdf5:
        h5py = pytest.importorskip('h5py')
        with h5py.File(path, 'w', userblock_size=512) as file:
            for name, array in arrays.items():
                file[name] = array.T
    else:
        from scipy.io import savemat

        savemat(path, arrays)
    proposals = load_proposals_mat(path, (13, 11))
    order = np.argsort(-scores)
    np.testing.assert_array_equal(proposals.masks(), masks[order])
    np.testing.assert_allclose(proposals.scores, scores[order], rtol=1e-6)
    np.testing.assert_allclose(load_saliency_mat(path), saliency, atol=1e-6)
    with pytest.raises(ValueError, match='13 x 11, its image is 11 x 13'):
        load_proposals_mat(path, (11, 13))


def test_published_masks_of_another_size_are_resized(rng, tmp_path):
    from scipy.io import savemat

    masks, scores = random_masks(rng), np.arange(9.0)[::-1]
    path = tmp_path / 'x.mat'
    savemat(path, dict(masks=masks.transpose(1, 2, 0).astype(np.uint8), scores=scores))
    doubled = load_proposals_mat(path, (26, 22)).masks()
    np.testing.assert_array_equal(doubled, masks.repeat(2, axis=1).repeat(2, axis=2))
    assert load_proposals_mat(path, (20, 17)).masks().shape == (9, 20, 17)


def test_names_published_files_that_cannot_be_used(tmp_path):
    from scipy.io import savemat

    path = tmp_path / 'x.mat'
    with pytest.raises(FileNotFoundError):
        load_proposals_mat(path)
    for content in (b'', b'hello', b'\x89HDF\r\n\x1a\n' + b'0' * 90):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r'x\.mat cannot be read'):
            load_proposals_mat(path)
    savemat(path, dict(masks=np.ones((3, 4, 2))))
    with pytest.raises(ValueError, match='has no scores'):
        load_proposals_mat(path)
    savemat(path, dict(masks=np.ones((3, 4, 2)), scores=np.ones(3)))
    with pytest.raises(ValueError, match=r'got \(3, 4, 2\) and \(3,\)'):
        load_proposals_mat(path)
