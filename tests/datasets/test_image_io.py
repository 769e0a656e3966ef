import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from mmcoseg.datasets import ForEachImage, LoadCoSegImage, PackGroupInputs, SyntheticCoSegDataset
from mmcoseg.datasets.image_io import (
    IMAGE_SUFFIXES,
    BadImageError,
    image_of,
    open_image,
    read_image,
    read_mask,
)
from mmcoseg.errors import MMCosegError
from mmcoseg.structures import CoSegDataSample

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def save(path, array, mode=None, **kwargs):
    Image.fromarray(array, mode).save(path, **kwargs) if mode else Image.fromarray(array).save(
        path, **kwargs
    )
    return path


def test_color_comes_as_bgr(tmp_path):
    np.testing.assert_array_equal(read_image(save(tmp_path / 'a.png', RGB)), RGB[:, :, ::-1])


def test_gray_and_one_bit(tmp_path):
    gray = RGB[:, :, 0]
    np.testing.assert_array_equal(
        read_image(save(tmp_path / 'a.png', gray)), np.repeat(gray[:, :, None], 3, axis=2)
    )
    Image.fromarray(gray > 127).save(tmp_path / 'b.png')
    np.testing.assert_array_equal(read_image(tmp_path / 'b.png')[:, :, 0], 255 * (gray > 127))


def test_16_bit_is_scaled_not_cut_off(tmp_path):
    values = np.array([[0, 257 * 10, 65535]], np.uint16)
    image = read_image(save(tmp_path / 'a.png', values))
    np.testing.assert_array_equal(image[0, :, 0], [0, 10, 255])


@pytest.mark.parametrize(
    ('values', 'expected'),
    [
        ([0, 0.2, 1], [0, 51, 255]),  # as most programs write floats
        ([0, 10, 255], [0, 10, 255]),
        ([0, 257 * 10, 65535], [0, 10, 255]),
        ([-1, 0, 1], [0, 128, 255]),
        ([0, 50_000, 100_000], [0, 128, 255]),
        ([np.nan, np.inf, 1], [0, 0, 255]),
        ([0, 0, 0], [0, 0, 0]),
    ],
)
def test_floats_of_any_range(tmp_path, values, expected):
    image = read_image(save(tmp_path / 'a.tif', np.array([values], np.float32)))
    np.testing.assert_array_equal(image[0, :, 0], expected)


def test_large_integers(tmp_path):
    values = np.array([[0, 100_000, 200_000]], np.int32)
    image = read_image(save(tmp_path / 'a.tif', values))
    np.testing.assert_array_equal(image[0, :, 0], [0, 128, 255])


def test_the_first_frame_of_an_animation(tmp_path):
    frames = [Image.new('RGB', (9, 6), color) for color in ('red', 'blue')]
    frames[0].save(tmp_path / 'a.gif', save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(read_image(tmp_path / 'a.gif')[0, 0], [0, 0, 255])


def test_transparency_is_laid_over_white(tmp_path):
    rgba = np.dstack([RGB, np.zeros((6, 9), np.uint8)])
    rgba[0, 0, 3] = 255
    image = read_image(save(tmp_path / 'a.png', rgba))
    assert (image[1:] == 255).all()
    np.testing.assert_array_equal(image[0, 0], RGB[0, 0, ::-1])


def test_palette_and_cmyk(tmp_path):
    palette = Image.fromarray(RGB).quantize(16)
    palette.save(tmp_path / 'a.png')
    np.testing.assert_array_equal(
        read_image(tmp_path / 'a.png'), np.asarray(palette.convert('RGB'))[:, :, ::-1]
    )
    Image.fromarray(RGB).convert('CMYK').save(tmp_path / 'b.jpg')
    assert read_image(tmp_path / 'b.jpg').shape == (6, 9, 3)


def test_exif_rotation_is_carried_out(tmp_path):
    image = Image.fromarray(RGB)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 270 degrees to see it upright
    image.save(tmp_path / 'a.png', exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / 'a.png'), np.rot90(RGB, 3)[:, :, ::-1])


@pytest.mark.parametrize('suffix', ['.heic', '.heif', '.avif', '.jpg', '.png', '.webp', '.tif'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_rotations_in_every_format(tmp_path, suffix, orientation):
    """Viewers agree on what is upright; no format is turned twice."""
    if suffix not in IMAGE_SUFFIXES:
        pytest.skip(f'{suffix} cannot be read here: pillow-heif, or a newer Pillow')
    corners = np.full((32, 48, 3), 128, np.uint8)  # dark, red, green, blue
    corners[:16, :24], corners[:16, 24:] = 30, (220, 30, 30)
    corners[16:, :24], corners[16:, 24:] = (30, 220, 30), (30, 30, 220)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(corners).save(tmp_path / f'a{suffix}', exif=exif)
    turned = {
        1: corners,
        2: corners[:, ::-1],
        3: corners[::-1, ::-1],
        4: corners[::-1],
        5: corners.transpose(1, 0, 2),
        6: np.rot90(corners, 3),
        7: corners.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(corners),
    }
    # In HEIC what EXIF says does not count: the file itself says how it is turned, and that is
    # carried out in decoding.
    expected = corners if suffix in ('.heic', '.heif') else turned[orientation]
    image = read_image(tmp_path / f'a{suffix}')
    assert image.shape == expected.shape
    assert np.abs(image[:, :, ::-1].astype(int) - expected).mean() < 12


def _with_rotation(heic: bytes, steps: int) -> bytes:
    """A HEIC file with an ``irot`` property: so many quarter turns against the clock."""
    # Properties are counted in the order in which they stand; ours is the last one.
    at = heic.index(b'ipco') - 4
    end = at + int.from_bytes(heic[at : at + 4], 'big')
    position, count = at + 8, 0
    while position < end:
        position += int.from_bytes(heic[position : position + 4], 'big')
        count += 1
    box = struct.pack('>I4sB', 9, b'irot', steps)
    ipma = heic.index(b'ipma') - 4
    # Version and flags 0: two bytes of the item, one of its number of properties, one each.
    assert heic[ipma + 8 : ipma + 12] == bytes(4)
    place = ipma + 18
    end_of_item = place + 1 + heic[place]
    data = bytearray(heic)
    data[end_of_item:end_of_item] = bytes([0x80 | (count + 1)])
    data[place] += 1
    data[end:end] = box
    added = len(box) + 1
    for name, grown in ((b'ipma', 1), (b'ipco', len(box)), (b'iprp', added), (b'meta', added)):
        start = data.index(name) - 4
        size = int.from_bytes(data[start : start + 4], 'big') + grown
        data[start : start + 4] = size.to_bytes(4, 'big')
    # What lies behind has moved.
    old, new = heic.index(b'mdat') + 4, data.index(b'mdat') + 4
    iloc = data.index(b'iloc') - 4
    size = int.from_bytes(data[iloc : iloc + 4], 'big')
    for where in range(iloc + 16, iloc + size - 3):
        offset = int.from_bytes(data[where : where + 4], 'big')
        if old <= offset < len(heic):
            data[where : where + 4] = (offset + new - old).to_bytes(4, 'big')
    return bytes(data)


def test_heic_photographs_are_turned_once(tmp_path):
    """As telephones write them: turned by the file's own property, and EXIF says so, too."""
    pytest.importorskip('pillow_heif', reason='extra heif not installed')
    image = np.full((32, 48, 3), 60, np.uint8)
    image[:16, :24] = 220, 30, 30
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image).save(tmp_path / 'a.heic', exif=exif)
    (tmp_path / 'b.heic').write_bytes(_with_rotation((tmp_path / 'a.heic').read_bytes(), 3))
    found = read_image(tmp_path / 'b.heic')[:, :, ::-1].astype(int)
    assert found.shape == (48, 32, 3)
    assert np.abs(found - np.rot90(image, 3)).mean() < 12


def test_heic_under_another_suffix(tmp_path):
    pytest.importorskip('pillow_heif', reason='extra heif not installed')
    Image.fromarray(RGB).resize((90, 60)).save(tmp_path / 'a.heic')
    (tmp_path / 'a.heic').rename(tmp_path / 'a.jpg')
    assert read_image(tmp_path / 'a.jpg').shape == (60, 90, 3)


@pytest.mark.slow
def test_without_pillow_heif_the_cure_is_named(tmp_path, repo_env):
    head = struct.pack('>I', 24) + b'ftypheic' + bytes(400)
    for name in ('a.heic', 'B.HEIF', 'c.jpg'):
        (tmp_path / name).write_bytes(head)
    program = (
        'import sys\n'
        'sys.modules["pillow_heif"] = None\n'
        'from mmcoseg.datasets.image_io import IMAGE_SUFFIXES, BadImageError, read_image\n'
        'assert ".heic" not in IMAGE_SUFFIXES\n'
        'for name in ("a.heic", "B.HEIF", "c.jpg"):\n'
        '    try:\n'
        '        read_image(name)\n'
        '    except BadImageError as error:\n'
        '        assert f"{name} is a HEIC photo: `pip install pillow-heif`" in str(error), error\n'
        '    else:\n'
        '        raise AssertionError(name)\n'
    )
    subprocess.run([sys.executable, '-c', program], env=repo_env, cwd=tmp_path, check=True)


def test_previews_of_raw_files_are_not_taken_for_the_photograph(tmp_path):
    Image.fromarray(RGB).save(tmp_path / 'a.dng', format='TIFF')
    with pytest.raises(BadImageError, match=r"a\.dng is a camera's raw file"):
        read_image(tmp_path / 'a.dng')


def _chunk(kind, data, checksum=None):
    checksum = zlib.crc32(kind + data) if checksum is None else checksum
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', checksum)


def _exif_chunk(orientation, **kwargs):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return _chunk(b'eXIf', exif.tobytes().removeprefix(b'Exif\0\0'), **kwargs)


_ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
_LONG = zlib.compress(b'x' * 1_100_000)
ODD_CHUNKS = {
    'checksum of a profile': [_chunk(b'iCCP', b'icc\0\0' + zlib.compress(_ICC), 1)],
    'checksum of a text': [_chunk(b'tEXt', b'Comment\0hello', 1)],
    'checksum of the resolution': [_chunk(b'pHYs', struct.pack('>IIB', 2835, 2835, 1), 1)],
    'checksum of a date': [_chunk(b'tIME', b'\x07\xe8\1\1\1\1\1', 1)],
    'checksum of gamma': [_chunk(b'gAMA', struct.pack('>I', 45455), 1)],
    'short gamma': [_chunk(b'gAMA', b'\0')],
    'short resolution': [_chunk(b'pHYs', b'\0')],
    'long text': [_chunk(b'zTXt', b'prompt\0\0' + _LONG)],
    'long international text': [_chunk(b'iTXt', b'XML:com.adobe.xmp\0\1\0\0\0' + _LONG)],
    'long profile': [_chunk(b'iCCP', b'icc\0\0' + zlib.compress(_ICC + b'\0' * 1_100_000))],
    'long plain text': [_chunk(b'tEXt', b'Comment\0' + b'x' * 2_000_000)],
    'EXIF data that are none': [_chunk(b'eXIf', b'not exif at all')],
    'a profile that is none': [_chunk(b'iCCP', b'icc\0\0' + b'garbage')],
    'much text': [
        _chunk(b'zTXt', b'k%d\0\0' % number + zlib.compress(b'x' * 1_000_000))
        for number in range(70)
    ],
}


def _png(path, chunks, behind=False, image=RGB):
    """A PNG with chunks put in, before its pixels or behind them."""
    Image.fromarray(image).save(path)
    data = path.read_bytes()
    at = len(data) - 12 if behind else 33
    path.write_bytes(data[:at] + b''.join(chunks) + data[at:])
    return path


@pytest.mark.parametrize('behind', [False, True], ids=['before', 'behind'])
@pytest.mark.parametrize('kind', ODD_CHUNKS)
def test_png_whose_pixels_are_sound(tmp_path, kind, behind):
    path = _png(tmp_path / 'a.png', ODD_CHUNKS[kind], behind)
    np.testing.assert_array_equal(read_image(path), RGB[:, :, ::-1])
    assert open_image(path).size == (9, 6)
    gray = np.uint8([[0, 1, 255]])
    mask = _png(tmp_path / 'mask.png', ODD_CHUNKS[kind], behind, gray)
    np.testing.assert_array_equal(read_mask(mask), gray)


def test_png_keeps_its_rotation_and_transparency_beside_damage(tmp_path):
    damage = ODD_CHUNKS['checksum of a text']
    path = _png(tmp_path / 'a.png', [_exif_chunk(6), *damage])
    np.testing.assert_array_equal(read_image(path), np.rot90(RGB, 3)[:, :, ::-1])
    path = _png(tmp_path / 'c.png', [_exif_chunk(6, checksum=1)])  # itself damaged
    np.testing.assert_array_equal(read_image(path), RGB[:, :, ::-1])
    shade = _chunk(b'tRNS', struct.pack('>HHH', *RGB[0, 0].tolist()))
    path = _png(tmp_path / 'b.png', [*damage, shade])
    assert (read_image(path)[0, 0] == 255).all()


@pytest.mark.parametrize('what', ['palette', 'head', 'cut'])
def test_png_whose_pixels_are_not_sound(tmp_path, what):
    path = tmp_path / 'a.png'
    Image.fromarray(RGB).quantize(16).save(path)
    data = bytearray(path.read_bytes())
    if what == 'cut':
        del data[-30:]
    else:
        name = dict(palette=b'PLTE', head=b'IHDR')[what]
        start = data.index(name)
        size = int.from_bytes(data[start - 4 : start], 'big')
        data[start + 4 + size] ^= 0xFF  # its checksum
    path.write_bytes(data)
    with pytest.raises(BadImageError, match=r'a\.png cannot be read as an image'):
        read_image(path)


@pytest.mark.parametrize('reader', [read_image, read_mask])
def test_files_that_are_no_images_are_named(tmp_path, reader):
    (tmp_path / 'text.jpg').write_text('not an image')
    (tmp_path / 'empty.png').touch()
    save(tmp_path / 'whole.png', np.random.default_rng(0).integers(0, 9, (99, 99), dtype=np.uint8))
    data = (tmp_path / 'whole.png').read_bytes()
    (tmp_path / 'cut.png').write_bytes(data[: len(data) // 2])
    for name in ('text.jpg', 'empty.png', 'cut.png'):
        with pytest.raises(BadImageError, match=f'{name} cannot be read'):
            reader(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        reader(tmp_path / 'none.png')


def test_masks_keep_their_values(tmp_path):
    values = np.array([[0, 1, 2, 255]], np.uint8)
    np.testing.assert_array_equal(read_mask(save(tmp_path / 'l.png', values)), values)
    palette = Image.fromarray(values)
    palette = palette.convert('P')
    palette.putpalette([255, 0, 0] * 256)
    palette.save(tmp_path / 'p.png')
    np.testing.assert_array_equal(read_mask(tmp_path / 'p.png'), np.asarray(palette))
    gray = np.repeat(values[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(read_mask(save(tmp_path / 'rgb.png', gray)), values)
    Image.fromarray(values > 0).save(tmp_path / 'one.png')
    np.testing.assert_array_equal(read_mask(tmp_path / 'one.png'), values > 0)
    np.testing.assert_array_equal(
        read_mask(save(tmp_path / 'deep.png', values.astype(np.uint16))), values
    )


MASK = np.array([[0, 0, 1, 1], [0, 1, 1, 0]], bool)


@pytest.mark.parametrize(
    ('mode', 'shown', 'hidden', 'value'),
    [
        ('RGBA', (0, 0, 0), (0, 0, 0), 255),
        ('RGBA', (255, 255, 255), (255, 255, 255), 255),
        ('RGBA', (255, 255, 255), (0, 0, 0), 255),
        ('RGBA', (0, 0, 0), (255, 255, 255), 255),
        ('RGBA', (200, 30, 40), (200, 30, 40), 255),  # a brush of any color
        ('RGBA', (200, 30, 40), (0, 0, 0), 255),
        ('RGBA', (2, 2, 2), (0, 0, 0), 2),  # the class, as it would be without transparency
        ('LA', (255,), (255,), 255),
        ('LA', (0,), (0,), 255),
        ('LA', (1,), (0,), 1),
    ],
)
def test_the_mask_is_in_the_transparency(tmp_path, mode, shown, hidden, value):
    colors = np.where(MASK[:, :, None], shown, hidden).astype(np.uint8)
    for name, alpha in (('hard', 255 * MASK), ('soft', np.where(MASK, 200, 40))):
        pixels = np.dstack([colors, alpha.astype(np.uint8)])
        path = save(tmp_path / f'{name}.png', pixels)
        with Image.open(path) as image:
            assert image.mode == mode
        np.testing.assert_array_equal(read_mask(path), value * MASK)
    # Nothing shown at all: an empty mask, where the colors do not say otherwise.
    hidden_only = np.broadcast_to(np.uint8(hidden), colors.shape)
    path = save(tmp_path / 'empty.png', np.dstack([hidden_only, 0 * MASK.astype(np.uint8)]))
    assert not read_mask(path).any()


def test_masks_in_the_colors_are_read_whatever_is_transparent(tmp_path):
    values = np.array([[0, 1, 2, 255], [0, 1, 2, 255]], np.uint8)
    for name, alpha in (('opaque', 255), ('hidden', 0), ('half', 255 * (values < 2))):
        pixels = np.dstack([values] * 3 + [np.broadcast_to(np.uint8(alpha), values.shape)])
        np.testing.assert_array_equal(read_mask(save(tmp_path / f'{name}.png', pixels)), values)
    one = np.full((2, 4), 255, np.uint8)  # an image that is all object
    np.testing.assert_array_equal(read_mask(save(tmp_path / 'one.png', np.dstack([one] * 4))), one)
    cutout = np.dstack([RGB, np.where(np.arange(9) < 4, 255, 0) * np.ones((6, 1))]).astype(np.uint8)
    with pytest.raises(BadImageError, match='not a mask.*if its transparency is the mask'):
        read_mask(save(tmp_path / 'cutout.png', cutout))


def test_colored_or_deep_masks_are_refused(tmp_path):
    with pytest.raises(BadImageError, match='color image, not a mask'):
        read_mask(save(tmp_path / 'c.png', RGB))
    with pytest.raises(BadImageError, match='mask values from 0 to 1000'):
        read_mask(save(tmp_path / 'd.png', np.array([[0, 1000]], np.uint16)))


def test_image_of_a_file_or_an_array(tmp_path):
    path = save(tmp_path / 'a.png', RGB)
    sample = CoSegDataSample(metainfo=dict(group='g', stem='a', img_path=str(path)))
    np.testing.assert_array_equal(image_of(sample), RGB[:, :, ::-1])
    sample.set_metainfo(dict(ori_img=RGB))  # goes before the file
    np.testing.assert_array_equal(image_of(sample), RGB)
    for wrong in (RGB[:, :, 0], RGB.astype(np.float32), 'a.png'):
        with pytest.raises(ValueError, match='an ori_img, .H, W, 3. uint8 BGR'):
            image_of(CoSegDataSample(metainfo=dict(ori_img=wrong)))
    with pytest.raises(MMCosegError, match='g/b must have an img_path or an ori_img'):
        image_of(CoSegDataSample(metainfo=dict(group='g', stem='b', img_path=None)))


def test_image_of_a_rendered_image():
    dataset = SyntheticCoSegDataset(
        pipeline=[ForEachImage([LoadCoSegImage()]), PackGroupInputs()],
        num_categories=2,
        images_per_group=2,
    )
    item = dataset[0]
    for tensor, sample in zip(item['inputs'], item['data_samples'], strict=True):
        np.testing.assert_array_equal(image_of(sample), tensor.numpy().transpose(1, 2, 0))
