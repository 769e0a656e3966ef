"""What holds for every cue of the training-free segmentor."""

import pytest
import torch

from mmcoseg.models.necks import Modulation
from mmcoseg.registry import MODELS

CUES = {
    'consensus': dict(type='ConsensusModulator', num_clusters=(3, 4), num_seeds=2),
    'ddt': dict(type='DDTModulator'),
    'ddt otsu': dict(type='DDTModulator', threshold='otsu'),
    'dff': dict(type='DFFModulator'),
    'dff otsu': dict(type='DFFModulator', threshold='otsu'),
    'kmeans': dict(type='KMeansModulator', num_clusters=3),
    'spectral': dict(type='SpectralModulator', normalize=False),
    'spectral centered': dict(type='SpectralModulator', affinity='centered', threshold='otsu'),
    'spectral landmarks': dict(
        type='SpectralModulator', affinity='landmarks', normalize=False, threshold='otsu',
        num_landmarks=40,
    ),
}  # fmt: skip
pytestmark = pytest.mark.filterwarnings('error::sklearn.exceptions.ConvergenceWarning')


@pytest.fixture(params=CUES.values(), ids=CUES)
def cue(request):
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


def maps_of(cue, features, sizes):
    descriptors = cue.encode((features[:, :2], features)).half()
    shift = cue.modulate_group(descriptors, sizes, Modulation()).shift
    assert shift.shape == (len(features), 1, *features.shape[2:])
    assert shift.isfinite().all() and shift.min() >= 0 and shift.max() <= 1
    return shift[:, 0]


def test_finds_the_object(cue):
    features, truth = scene(4)
    maps = maps_of(cue, features, [4])
    assert maps[truth].mean() > maps[~truth].mean() + 0.4


def test_order_of_images_changes_nothing(cue):
    features, _ = scene(5)
    order = [3, 0, 4, 1, 2]
    torch.testing.assert_close(
        maps_of(cue, features[order], [5]), maps_of(cue, features, [5])[order], atol=1e-3, rtol=0
    )


def test_groups_do_not_see_each_other(cue):
    first, _ = scene(3, seed=1)
    second, _ = scene(2, seed=2)
    together = maps_of(cue, torch.cat([first, 3 * second.flip(1)]), [3, 2])
    torch.testing.assert_close(together[:3], maps_of(cue, first, [3]))
    torch.testing.assert_close(together[3:], maps_of(cue, 3 * second.flip(1), [2]))


def test_one_image_and_the_same_twice(cue):
    features, truth = scene(1)
    alone = maps_of(cue, features, [1])
    assert alone[truth].mean() > alone[~truth].mean() + 0.3
    twice = maps_of(cue, features.repeat(2, 1, 1, 1), [2])
    torch.testing.assert_close(twice[0], twice[1])
    torch.testing.assert_close(twice[:1], alone, atol=5e-3, rtol=0)


@pytest.mark.parametrize(
    'features', [torch.zeros(1, 4, 3, 3), torch.ones(2, 4, 2, 2), torch.ones(1, 3, 1, 1)]
)
def test_features_that_do_not_differ(cue, features):
    maps_of(cue, features, [len(features)])


def test_rotations_change_nothing_where_that_is_said(cue):
    if not cue.rotation_invariant:
        assert 'DFF' in type(cue).__name__  # which looks at single channels
        return
    features, _ = scene(4)
    rotation, _ = torch.linalg.qr(torch.randn(9, 9, generator=torch.Generator().manual_seed(0)))
    turned = torch.einsum('ndhw,dk->nkhw', features, rotation)
    # Codes are rounded to half precision, which turns a location or two.
    difference = (maps_of(cue, turned, [4]) - maps_of(cue, features, [4])).abs()
    assert difference.mean() < 0.01


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(type='DDTModulator', threshold='half'), "one of .*got 'half'"),
        (dict(type='DFFModulator', threshold='zero'), "one of .*got 'zero'"),
        (dict(type='DFFModulator', num_factors=1), 'at least 2, got 1'),
        (dict(type='KMeansModulator', num_clusters=1), 'at least 2, got 1'),
        (dict(type='SpectralModulator', affinity='cosine'), "one of .*got 'cosine'"),
        (dict(type='SpectralModulator', threshold='share'), "one of .*got 'share'"),
    ],
)
def test_wrong_options(config, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(config)


def test_kmeans_is_one_clustering_of_the_consensus():
    features, _ = scene(4)
    runs = [
        maps_of(
            MODELS.build(dict(type='KMeansModulator', num_clusters=k, seed=seed)), features, [4]
        )
        for k in (3, 6)
        for seed in (0, 1)
    ]
    assert all(set(run.unique().tolist()) <= {0, 1} for run in runs)
    cue = MODELS.build(dict(type='ConsensusModulator', num_clusters=(3, 6), num_seeds=2))
    torch.testing.assert_close(maps_of(cue, features, [4]), torch.stack(runs).mean(dim=0))
