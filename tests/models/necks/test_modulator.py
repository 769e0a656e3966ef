import pytest
import torch

from mmcoseg.models.necks import LevelProjection, Modulation, modulate


def test_modulate_is_equation_5():
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    gamma = torch.randn(2, 3, dtype=torch.float64)
    s = torch.randn(2, 1, 4, 5, dtype=torch.float64)
    y = modulate(x, Modulation(scale=gamma, shift=s))
    for n in range(2):
        for c in range(3):
            torch.testing.assert_close(y[n, c], gamma[n, c] * x[n, c] + s[n, 0])


def test_each_part_may_be_missing():
    x = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(modulate(x, Modulation()), x)
    torch.testing.assert_close(modulate(x, Modulation(scale=torch.full((2, 3), 2.0))), 2 * x)
    torch.testing.assert_close(modulate(x, Modulation(shift=torch.ones(2, 1, 2, 2))), x + 1)


def test_modulators_in_a_row():
    a = Modulation(scale=torch.full((1, 2), 2.0), shift=torch.ones(1, 1, 2, 2), state=dict(a=0))
    b = Modulation(scale=torch.full((1, 2), 3.0), shift=torch.ones(1, 1, 4, 4), state=dict(b=1))
    both = a.followed_by(b)
    assert (both.scale == 6).all()
    assert both.shift.shape == (1, 1, 4, 4) and (both.shift == 2).all()
    assert set(both.state) == {'a', 'b'}
    assert Modulation().followed_by(b).scale is b.scale
    assert a.followed_by(Modulation()).shift is a.shift


def test_channels_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match='2 channel factors, but the level has 3'):
        modulate(torch.randn(1, 3, 2, 2), Modulation(scale=torch.ones(1, 2)))


def test_projection_brings_levels_to_one_width():
    levels = LevelProjection([4, 6], channels=5)((torch.rand(2, 4, 8, 8), torch.rand(2, 6, 4, 4)))
    assert [tuple(x.shape) for x in levels] == [(2, 5, 8, 8), (2, 5, 4, 4)]
