from itertools import islice

import numpy as np
import pytest

from mmcoseg.datasets import EpisodeSampler, samplers


def draws(count, size=5, **kwargs):
    return list(islice(EpisodeSampler(range(size), **kwargs), count))


def test_every_group_comes_equally_often():
    groups = [group for group, _ in draws(20, seed=1)]
    for start in range(0, 20, 5):
        assert sorted(groups[start : start + 5]) == [0, 1, 2, 3, 4]
    assert groups[:5] != groups[5:10]
    assert [draw for _, draw in draws(4, seed=1)] == [0, 1, 2, 3]


def test_seeds():
    assert draws(30, seed=1) == draws(30, seed=1) != draws(30, seed=2)


@pytest.mark.parametrize('world_size', [2, 3])
def test_processes_share_out_what_one_would_draw(monkeypatch, world_size):
    alone = draws(30, seed=4)
    for rank in range(world_size):
        monkeypatch.setattr(samplers, 'get_dist_info', lambda rank=rank: (rank, world_size))
        share = draws(30 // world_size, seed=4)
        assert share == alone[rank::world_size]


@pytest.mark.parametrize('rank', [0, 1])
def test_skipping_goes_on_where_an_uninterrupted_run_would(monkeypatch, rank):
    monkeypatch.setattr(samplers, 'get_dist_info', lambda: (rank, 2))
    whole = draws(20, seed=4)
    sampler = EpisodeSampler(range(5), seed=4)
    sampler.skip(7)
    assert list(islice(sampler, 13)) == whole[7:]


class Groups(list):
    """A data set whose items are groups of as many images as the numbers say."""

    seed = None

    def get_data_info(self, i):
        return dict(images=range(self[i]))


def test_draws_by_size(monkeypatch):
    groups = Groups([1, 2, 7])
    drawn = list(islice(EpisodeSampler(groups, seed=0, order='by_size'), 3000))
    counts = np.bincount([group for group, _ in drawn], minlength=3)
    np.testing.assert_allclose(counts / 3000, (0.1, 0.2, 0.7), atol=0.04)
    monkeypatch.setattr(samplers, 'get_dist_info', lambda: (1, 2))
    sampler = EpisodeSampler(groups, seed=0, order='by_size')
    sampler.skip(4)
    assert list(islice(sampler, 20)) == drawn[9:49:2]


def test_the_data_set_takes_the_seed_of_the_sampler():
    groups = Groups([1])
    EpisodeSampler(groups, seed=5)
    assert groups.seed == 5
    EpisodeSampler(groups, seed=6)
    assert groups.seed == 5


def test_bad_arguments():
    with pytest.raises(ValueError, match='at least one group'):
        EpisodeSampler([])
    with pytest.raises(ValueError, match="order must be one of .*'sizes'"):
        EpisodeSampler([1], order='sizes')
