import pytest
import torch
from torch.nn import functional as F

from mmcoseg.models.ops import corners_aligned, maps_at_locations, maps_at_pixels, pad_map


def random_maps(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ramps(height, width):
    """Two maps, (1, 2, h, w), whose values are the pixels' coordinates."""
    rows = torch.arange(height, dtype=torch.float64)[:, None].expand(height, width)
    columns = torch.arange(width, dtype=torch.float64).expand(height, width)
    return torch.stack([rows, columns])[None]


@pytest.mark.parametrize(
    ('size', 'shape', 'aligned'),
    [
        ((385, 385), (25, 25), True),
        ((513, 385), (33, 25), True),
        ((65, 33), (9, 5), True),
        ((65, 65), (65, 65), True),
        ((97, 97), (4, 4), True),  # at stride 32
        ((224, 224), (16, 16), False),
        ((65, 64), (9, 8), False),  # one side only
        ((64, 65), (8, 9), False),
        ((49, 49), (5, 5), False),  # a stride of 12 is no backbone's
        ((65, 65), (8, 8), False),
        ((33, 33), (1, 1), False),
    ],
)
def test_which_corners_are_aligned(size, shape, aligned):
    assert corners_aligned(size, shape) is aligned


@pytest.mark.parametrize('stride', [2, 4, 8])
def test_locations_lie_where_convolutions_look(stride):
    """A convolution that copies the pixel under its middle; what it saw comes back in place."""
    image = ramps(4 * stride + 1, 6 * stride + 1)
    kernel = torch.zeros(2, 1, 3, 3, dtype=torch.float64)
    kernel[:, :, 1, 1] = 1
    seen = image
    while seen.shape[2] > 5:
        seen = F.conv2d(seen, kernel, stride=2, padding=1, groups=2)
    assert seen.shape == (1, 2, 5, 7)
    torch.testing.assert_close(maps_at_pixels(seen, tuple(image.shape[2:])), image)


def test_locations_lie_in_the_middle_of_patches():
    image = ramps(32, 48)
    full = maps_at_pixels(F.avg_pool2d(image, 8), (32, 48))
    # At the ends, values are those of the outermost patches.
    torch.testing.assert_close(full[:, :, 4:-4, 4:-4], image[:, :, 4:-4, 4:-4])
    assert full.min() == 3.5


@pytest.mark.parametrize(
    ('shape', 'size'), [((3, 5), (9, 17)), ((3, 4), (12, 20)), ((5, 2), (5, 2))]
)
def test_maps_at_pixels_are_bilinear(shape, size):
    maps = random_maps(2, 3, *shape)
    full = maps_at_pixels(maps, size)
    assert full.shape == (2, 3, *size)

    def neighbors(pixel, axis):
        if corners_aligned(size, shape):
            place = pixel * (shape[axis] - 1) / (size[axis] - 1)
        else:
            place = (pixel + 0.5) * shape[axis] / size[axis] - 0.5
        place = min(max(place, 0.0), shape[axis] - 1.0)
        low = min(int(place), shape[axis] - 2)
        return (low, low + 1 - place), (low + 1, place - low)

    for y in range(size[0]):
        for x in range(size[1]):
            expected = sum(
                a * b * maps[:, :, i, j] for i, a in neighbors(y, 0) for j, b in neighbors(x, 1)
            )
            torch.testing.assert_close(full[:, :, y, x], expected)


def test_means_around_aligned_locations():
    """Of the pixels nearer than three quarters of the distance between two locations."""
    size, shape, half = (65, 33), (5, 3), 2
    maps = random_maps(2, 2, (2 * shape[0] - 1) * half, (2 * shape[1] - 1) * half)
    means = maps_at_locations(maps, shape, size)
    assert means.shape == (2, 2, *shape)
    for i in range(shape[0]):
        for j in range(shape[1]):
            rows = slice(max(0, half * (2 * i - 1)), half * (2 * i + 2))
            columns = slice(max(0, half * (2 * j - 1)), half * (2 * j + 2))
            torch.testing.assert_close(
                means[:, :, i, j], maps[:, :, rows, columns].mean(dim=(2, 3))
            )


def test_means_of_patches():
    maps = random_maps(2, 1, 12, 20)
    means = maps_at_locations(maps, (3, 4), (48, 64))
    for i in range(3):
        for j in range(4):
            patch = maps[:, :, 4 * i : 4 * i + 4, 5 * j : 5 * j + 5]
            torch.testing.assert_close(means[:, :, i, j], patch.mean(dim=(2, 3)))


@pytest.mark.parametrize(('shape', 'size'), [((9, 5), (65, 33)), ((8, 4), (64, 32))])
@pytest.mark.parametrize('resolution', [(65, 33), (16, 9), (3, 3)])
def test_nothing_moves_or_changes_its_level(shape, size, resolution):
    """Nothing is moved to a side, brightened or darkened, whatever the maps' resolution."""
    flat = torch.full((1, 1, *resolution), 0.3)
    torch.testing.assert_close(
        maps_at_locations(flat, shape, size), torch.full((1, 1, *shape), 0.3)
    )
    torch.testing.assert_close(
        maps_at_pixels(torch.full((1, 1, *shape), 0.3), size), torch.full((1, 1, *size), 0.3)
    )
    maps = random_maps(1, 1, *resolution)
    for axis in (2, 3):
        torch.testing.assert_close(
            maps_at_locations(maps.flip(axis), shape, size),
            maps_at_locations(maps, shape, size).flip(axis),
        )


@pytest.mark.parametrize(('shape', 'size'), [((9, 7), (65, 49)), ((8, 6), (64, 48))])
def test_the_mean_around_a_location_is_of_its_pixels(shape, size):
    means = maps_at_locations(ramps(*size), shape, size)
    back = maps_at_pixels(means, size)
    inner = (..., slice(12, -12), slice(12, -12))  # beyond the outermost locations' cut parts
    # An eighth of the distance between two locations.
    torch.testing.assert_close(back[inner], ramps(*size)[inner], atol=1, rtol=0)


def test_padding_of_maps():
    maps = random_maps(2, 1, 8, 12)
    assert pad_map(maps, (40, 30), (40, 30)) is maps
    padded = pad_map(maps, (8, 12), (16, 24))
    assert padded.shape == maps.shape
    torch.testing.assert_close(padded[..., :4, :6], F.avg_pool2d(maps, 2))
    assert padded[..., 4:, :].max() == padded[..., 6:].max() == 0
    assert pad_map(torch.ones(1, 1, 4, 4), (48, 64), (64, 64)).tolist() == [
        [[[1.0] * 4] * 3 + [[0.0] * 4]]
    ]
