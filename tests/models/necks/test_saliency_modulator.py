import numpy as np
import pytest
import torch

from mmcoseg.models import ConsensusModulator, SaliencyModulator
from mmcoseg.models.necks import Modulation
from mmcoseg.models.ops import consensus_foreground


def saliency_maps(num_images=4, seed=0):
    """Maps (n, 1, 16, 12) in [0, 1] of two levels each, with noise."""
    rng = torch.Generator().manual_seed(seed)
    maps = 0.15 + 0.2 * torch.rand(num_images, 1, 16, 12, generator=rng)
    for number, one in enumerate(maps):
        one[:, 4:10, 2 : 6 + number] += 0.3 + 0.05 * number
    return maps


def maps_of(descriptors, sizes=None, **options):
    modulator = SaliencyModulator(**options)
    return modulator.modulate_group(descriptors, sizes or [len(descriptors)], Modulation()).shift


@pytest.mark.parametrize('slope', [1.0, 2.0, 5.0])
def test_is_centered_at_the_literal_threshold_of_otsu(slope):
    """Largest variance between the classes, over all ways to part 128 bins."""
    descriptors = saliency_maps()
    shifts = maps_of(descriptors, slope=slope)
    assert shifts.shape == descriptors.shape and shifts.dtype == torch.float32
    for saliency, shift in zip(descriptors[:, 0].numpy(), shifts[:, 0].numpy()):
        counts, edges = np.histogram(saliency, 128)
        middles = (edges[1:].astype(float) + edges[:-1]) / 2

        def between(cut, counts=counts, middles=middles):
            low, high = counts[: cut + 1], counts[cut + 1 :]
            means = low @ middles[: cut + 1] / low.sum(), high @ middles[cut + 1 :] / high.sum()
            return low.sum() * high.sum() * (means[0] - means[1]) ** 2

        best = max(range(127), key=between)
        # All cuts within the gap between two levels are as good; the first one counts.
        expected = np.clip(slope * (saliency - middles[best]) + 0.5, 0, 1)
        np.testing.assert_allclose(shift, expected, atol=1e-4)
        assert (shift > 0.5).mean() == pytest.approx((saliency > 0.42).mean(), abs=0.02)


def test_each_image_by_itself():
    descriptors = saliency_maps(5)
    expected = maps_of(descriptors)
    assert torch.equal(maps_of(descriptors), expected)
    assert torch.equal(maps_of(descriptors, [2, 3]), expected)
    assert torch.equal(maps_of(descriptors[[3, 0, 4, 1, 2]]), expected[[3, 0, 4, 1, 2]])
    assert torch.equal(maps_of(descriptors.repeat(2, 1, 1, 1)), expected.repeat(2, 1, 1, 1))
    assert torch.equal(maps_of(descriptors[:1]), expected[:1])
    torch.testing.assert_close(maps_of(descriptors.half()), expected, atol=0.02, rtol=0)


@pytest.mark.parametrize('level', [0.0, 0.6, 1.0])
def test_nothing_stands_out(level):
    descriptors = saliency_maps(2)
    descriptors[1] = level
    shifts = maps_of(descriptors)
    assert shifts[1].max() == 0
    assert torch.equal(shifts[0], maps_of(saliency_maps(2))[0])


def test_says_that_it_does_not_take_features():
    modulator = SaliencyModulator()
    assert modulator.takes_saliency
    with pytest.raises(ValueError, match='not at features.*TrainingFreeCoSegmentor'):
        modulator((torch.rand(2, 3, 4, 4),), [2])


def features_and_saliency():
    rng = torch.Generator().manual_seed(0)
    return torch.randn(5, 6, 8, 6, generator=rng), saliency_maps(5)


def test_consensus_takes_it_as_a_prior():
    features, saliency = features_and_saliency()
    options = dict(num_clusters=(3, 6), num_seeds=2, num_components=4)
    cue = ConsensusModulator(prior_exponent=1.5, **options)
    shift = cue.modulate_group(features, [3, 2], Modulation(shift=saliency)).shift
    assert shift.shape == (5, 1, 8, 6)
    # Means of 2 x 2, each group by itself.
    prior = saliency.view(5, 8, 2, 6, 2).mean(dim=(2, 4))
    for group in (slice(0, 3), slice(3, 5)):
        expected = consensus_foreground(
            features[group], prior=prior[group], prior_exponent=1.5, **options
        )
        torch.testing.assert_close(shift[group, 0], expected)
    without = ConsensusModulator(**options).modulate_group(features, [3, 2], Modulation()).shift
    assert not torch.equal(shift, without)


def test_consensus_without_prior_exponent_ignores_it():
    features, saliency = features_and_saliency()
    cue = ConsensusModulator(num_clusters=(3,), num_seeds=1)
    before = cue.modulate_group(features, [5], Modulation()).shift
    after = cue.modulate_group(features, [5], Modulation(shift=saliency)).shift
    assert torch.equal(before, after)


def test_consensus_says_what_is_missing():
    features, _ = features_and_saliency()
    cue = ConsensusModulator(prior_exponent=0.5)
    with pytest.raises(ValueError, match=r'prior_exponent=0\.5 needs .*ComputeSaliency.*=0$'):
        cue.modulate_group(features, [5], Modulation())
