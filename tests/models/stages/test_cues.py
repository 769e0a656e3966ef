"""What holds for every cue, alone in a segmentor or as a modulator, and for SaliencyCue."""

from functools import partial

import numpy as np
import pytest
import torch

from mmcoseg.models import ConsensusCue, CueModulator, SaliencyCue
from mmcoseg.models.necks import Modulation
from mmcoseg.models.ops import consensus_foreground
from mmcoseg.models.ops.landmarks import landmark_bipartition
from mmcoseg.models.stages import GroupContext, cues
from mmcoseg.registry import MODELS
from mmcoseg.structures import GroupDataSample, GroupImages

CUES = {
    'consensus': dict(type='ConsensusCue', num_clusters=(3, 4), num_seeds=2),
    'ddt': dict(type='DDTCue'),
    'ddt otsu': dict(type='DDTCue', threshold='otsu'),
    'dff': dict(type='DFFCue'),
    'kmeans': dict(type='ConsensusCue', num_clusters=[3], num_seeds=1),
    'spectral': dict(type='SpectralCue', normalize=False),
    'spectral otsu': dict(type='SpectralCue', normalize=False, threshold='otsu'),
    'spectral landmarks': dict(
        type='SpectralCue', affinity='landmarks', normalize=False, threshold='otsu'
    ),
}  # fmt: skip
pytestmark = pytest.mark.filterwarnings('error::sklearn.exceptions.ConvergenceWarning')


@pytest.fixture(params=CUES.values(), ids=CUES)
def cue(request, monkeypatch):
    # Fewer landmarks than the locations of these small groups.
    few = partial(landmark_bipartition, num_landmarks=40)
    monkeypatch.setattr(cues, 'landmark_bipartition', few)
    return MODELS.build(request.param)


def scene(num_images, size=13, seed=0):
    """Non-negative features in which one object stands in the middle before two surroundings."""
    rng = torch.Generator().manual_seed(seed)
    kinds = torch.zeros(3, 9)
    # The object differs from both surroundings more than those from each other.
    kinds[0, :4], kinds[1, 1:5], kinds[2, 5:] = 1, 1, 2
    truth = torch.zeros(num_images, size, size, dtype=torch.long)
    truth[:, size // 2 :] = 1
    for image in truth:
        top, left = torch.randint(3, 6, (2,), generator=rng).tolist()
        image[top : top + 5, left : left + 5] = 2
    noise = 0.1 * torch.rand(num_images, size, size, 9, generator=rng)
    return (kinds[truth] + noise).permute(0, 3, 1, 2), truth == 2


def context_of(descriptors=None, saliency=None):
    images = GroupImages.of(torch.zeros(1, 3, 8, 8))
    return GroupContext(images, GroupDataSample([]), descriptors or {}, saliency)


def maps_of(cue, features):
    descriptors = cue.descriptors((features[:, :2], features)).half()
    maps = cue(context_of({cue.descriptors: descriptors}))
    assert maps.shape == (len(features), 1, *features.shape[2:]) and maps.dtype == torch.float32
    assert maps.isfinite().all() and maps.min() >= 0 and maps.max() <= 1
    return maps[:, 0]


def test_finds_the_object(cue):
    features, truth = scene(4)
    maps = maps_of(cue, features)
    assert maps[truth].mean() > maps[~truth].mean() + 0.4


def test_order_of_images_changes_nothing(cue):
    features, _ = scene(5)
    order = [3, 0, 4, 1, 2]
    torch.testing.assert_close(
        maps_of(cue, features[order]), maps_of(cue, features)[order], atol=1e-3, rtol=0
    )


def test_as_a_modulator_it_sees_each_group_by_itself(cue, request):
    first, _ = scene(3, seed=1)
    second, _ = scene(2, seed=2)
    second = 3 * second.flip(1)
    both = torch.cat([first, second])
    modulator = CueModulator(request.node.callspec.params['cue'])
    modulation = modulator((both[:, :2], both), [3, 2])
    assert modulation.scale is None and modulation.shift.shape == (5, 1, *both.shape[2:])
    descriptors = modulator.encode((both[:, :2], both)).half()
    together = modulator.modulate_group(descriptors, [3, 2], Modulation()).shift[:, 0].float()
    torch.testing.assert_close(together[:3], maps_of(cue, first))
    torch.testing.assert_close(together[3:], maps_of(cue, second))


def test_one_image_and_the_same_twice(cue):
    features, truth = scene(1)
    alone = maps_of(cue, features)
    assert alone[truth].mean() > alone[~truth].mean() + 0.3
    twice = maps_of(cue, features.repeat(2, 1, 1, 1))
    torch.testing.assert_close(twice[0], twice[1])
    torch.testing.assert_close(twice[:1], alone, atol=5e-3, rtol=0)


@pytest.mark.parametrize(
    'features', [torch.zeros(1, 4, 3, 3), torch.ones(2, 4, 2, 2), torch.ones(1, 3, 1, 1)]
)
def test_features_that_do_not_differ(cue, features):
    maps_of(cue, features)


def test_rotations_change_nothing_where_that_is_said(cue):
    if not cue.descriptors.rotation_invariant:
        assert 'DFF' in type(cue).__name__  # which looks at single channels
        return
    features, _ = scene(4)
    rotation, _ = torch.linalg.qr(torch.randn(9, 9, generator=torch.Generator().manual_seed(0)))
    turned = torch.einsum('ndhw,dk->nkhw', features, rotation)
    # Descriptors are rounded to half precision, which turns a location or two.
    difference = (maps_of(cue, turned) - maps_of(cue, features)).abs()
    assert difference.mean() < 0.01


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(type='DDTCue', threshold='half'), "one of .*got 'half'"),
        (dict(type='DFFCue', num_factors=1), 'num_factors .*at least 2, got 1'),
        (dict(type='SpectralCue', affinity='centered'), "one of .*got 'centered'"),
        (dict(type='SpectralCue', threshold='share'), "one of .*got 'share'"),
    ],
)
def test_wrong_options(config, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(config)


def test_the_consensus_is_the_mean_of_its_clusterings():
    features, _ = scene(4)
    alone = [ConsensusCue(num_clusters=[k], num_seeds=1) for k in (3, 6)]
    runs = [maps_of(one, features) for one in alone]
    assert all(set(run.unique().tolist()) <= {0, 1} for run in runs)
    cue = MODELS.build(dict(type='ConsensusCue', num_clusters=(3, 6), num_seeds=1))
    torch.testing.assert_close(maps_of(cue, features), torch.stack(runs).mean(dim=0))


def saliency_maps(num_images=4, seed=0):
    """Maps (n, 1, 16, 12) in [0, 1] of two levels each, with noise."""
    rng = torch.Generator().manual_seed(seed)
    maps = 0.15 + 0.2 * torch.rand(num_images, 1, 16, 12, generator=rng)
    for number, one in enumerate(maps):
        one[:, 4:10, 2 : 6 + number] += 0.3 + 0.05 * number
    return maps


def salient_maps(saliency):
    return SaliencyCue()(context_of(saliency=saliency))


def test_saliency_is_centered_at_the_literal_threshold_of_otsu():
    """Largest variance between the classes, over all ways to part 128 bins."""
    given = saliency_maps()
    maps = salient_maps(given)
    assert maps.shape == given.shape and maps.dtype == torch.float32
    for saliency, found in zip(given[:, 0].numpy(), maps[:, 0].numpy()):
        counts, edges = np.histogram(saliency, 128)
        middles = (edges[1:].astype(float) + edges[:-1]) / 2

        def between(cut, counts=counts, middles=middles):
            low, high = counts[: cut + 1], counts[cut + 1 :]
            means = low @ middles[: cut + 1] / low.sum(), high @ middles[cut + 1 :] / high.sum()
            return low.sum() * high.sum() * (means[0] - means[1]) ** 2

        best = max(range(127), key=between)
        # All cuts within the gap between two levels are as good; the first one counts.
        expected = np.clip(2.0 * (saliency - middles[best]) + 0.5, 0, 1)
        np.testing.assert_allclose(found, expected, atol=1e-4)
        assert (found > 0.5).mean() == pytest.approx((saliency > 0.42).mean(), abs=0.02)


def test_saliency_of_each_image_by_itself():
    given = saliency_maps(5)
    expected = salient_maps(given)
    assert torch.equal(salient_maps(given), expected)
    assert torch.equal(torch.cat([salient_maps(given[:2]), salient_maps(given[2:])]), expected)
    assert torch.equal(salient_maps(given[[3, 0, 4, 1, 2]]), expected[[3, 0, 4, 1, 2]])
    assert torch.equal(salient_maps(given.repeat(2, 1, 1, 1)), expected.repeat(2, 1, 1, 1))
    assert torch.equal(salient_maps(given[:1]), expected[:1])
    torch.testing.assert_close(salient_maps(given.half()), expected, atol=0.02, rtol=0)


@pytest.mark.parametrize('level', [0.0, 0.6, 1.0])
def test_nothing_stands_out(level):
    given = saliency_maps(2)
    given[1] = level
    maps = salient_maps(given)
    assert maps[1].max() == 0
    assert torch.equal(maps[0], salient_maps(saliency_maps(2))[0])


def test_saliency_looks_at_no_features():
    assert SaliencyCue().descriptors is None
    with pytest.raises(ValueError, match='SaliencyCue needs the saliency .* put ComputeSaliency'):
        SaliencyCue()(context_of())


def features_and_saliency():
    rng = torch.Generator().manual_seed(0)
    return torch.randn(5, 6, 8, 6, generator=rng), saliency_maps(5)


CONSENSUS = dict(num_clusters=(3, 6), num_seeds=2)


def test_consensus_takes_saliency_into_account():
    features, saliency = features_and_saliency()
    cue = ConsensusCue(saliency_exponent=1.5, **CONSENSUS)
    maps = cue(context_of({cue.descriptors: features}, saliency))
    assert maps.shape == (5, 1, 8, 6)
    # Means of 2 x 2.
    prior = saliency.view(5, 8, 2, 6, 2).mean(dim=(2, 4))
    expected = consensus_foreground(features, saliency=prior, saliency_exponent=1.5, **CONSENSUS)
    torch.testing.assert_close(maps[:, 0], expected)
    assert not torch.equal(maps[:, 0], ConsensusCue(**CONSENSUS).group_maps(features, None))


def test_as_a_modulator_consensus_takes_the_maps_of_those_before():
    features, saliency = features_and_saliency()
    config = dict(type='ConsensusCue', saliency_exponent=1.5, **CONSENSUS)
    shift = CueModulator(config)((features,), [3, 2], Modulation(shift=saliency)).shift
    cue = MODELS.build(config)
    for group in (slice(0, 3), slice(3, 5)):
        expected = cue.group_maps(features[group], saliency[group])
        torch.testing.assert_close(shift[group, 0], expected)


def test_consensus_without_saliency_exponent_ignores_it():
    features, saliency = features_and_saliency()
    cue = ConsensusCue(num_clusters=(3,), num_seeds=1)
    before = cue(context_of({cue.descriptors: features}))
    after = cue(context_of({cue.descriptors: features}, saliency))
    assert torch.equal(before, after)


def test_consensus_says_what_is_missing():
    features, _ = features_and_saliency()
    cue = ConsensusCue(saliency_exponent=0.5)
    with pytest.raises(ValueError, match=r'saliency_exponent=0\.5 needs .*ComputeSaliency.*=0$'):
        cue(context_of({cue.descriptors: features}))
