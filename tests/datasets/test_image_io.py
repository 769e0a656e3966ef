import numpy as np
import pytest
from PIL import Image

from mmcoseg.datasets import ForEachImage, LoadCoSegImage, PackGroupInputs, SyntheticCoSegDataset
from mmcoseg.datasets.image_io import BadImageError, image_of, read_image, read_mask
from mmcoseg.structures import CoSegDataSample

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def save(path, array, mode=None, **kwargs):
    Image.fromarray(array, mode).save(path, **kwargs) if mode else Image.fromarray(array).save(
        path, **kwargs
    )
    return path


def test_colour_comes_as_bgr(tmp_path):
    np.testing.assert_array_equal(read_image(save(tmp_path / 'a.png', RGB)), RGB[:, :, ::-1])


def test_grey_and_one_bit(tmp_path):
    grey = RGB[:, :, 0]
    np.testing.assert_array_equal(
        read_image(save(tmp_path / 'a.png', grey)), np.repeat(grey[:, :, None], 3, axis=2)
    )
    Image.fromarray(grey > 127).save(tmp_path / 'b.png')
    np.testing.assert_array_equal(read_image(tmp_path / 'b.png')[:, :, 0], 255 * (grey > 127))


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
    frames = [Image.new('RGB', (9, 6), colour) for colour in ('red', 'blue')]
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
    grey = np.repeat(values[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(read_mask(save(tmp_path / 'rgb.png', grey)), values)
    Image.fromarray(values > 0).save(tmp_path / 'one.png')
    np.testing.assert_array_equal(read_mask(tmp_path / 'one.png'), values > 0)
    np.testing.assert_array_equal(
        read_mask(save(tmp_path / 'deep.png', values.astype(np.uint16))), values
    )


def test_coloured_or_deep_masks_are_refused(tmp_path):
    with pytest.raises(BadImageError, match='colour image, not a mask'):
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
        with pytest.raises(ValueError, match='must be .H, W, 3. uint8 BGR'):
            image_of(CoSegDataSample(metainfo=dict(ori_img=wrong)))
    with pytest.raises(KeyError, match='g/b names no image'):
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
