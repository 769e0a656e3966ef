import numpy as np
import pytest
from demo_inputs import write_tiny_dataset
from PIL import Image

from mmcoseg.datasets.checks import check_data, format_report


@pytest.fixture
def root(tmp_path):
    write_tiny_dataset(tmp_path, groups=dict(ant=3, bee=2), size=(20, 30))
    return tmp_path


def problems(root):
    report = check_data(root, progress=False)
    return report, {(p.severity, p.path.rsplit('/', 1)[-1]): p.message for p in report.problems}


def test_a_sound_set(root):
    report, found = problems(root)
    assert not found
    assert {name: facts.images for name, facts in report.groups.items()} == dict(ant=3, bee=2)
    facts = report.groups['ant']
    sizes = [Image.open(p).size for p in (root / 'images' / 'ant').iterdir()]
    assert facts.masks == 3
    assert facts.widths == (min(w for w, _ in sizes), max(w for w, _ in sizes))
    assert facts.heights == (min(h for _, h in sizes), max(h for _, h in sizes))
    masks = [np.asarray(Image.open(p)) for p in sorted((root / 'masks' / 'ant').iterdir())]
    assert facts.object_share == pytest.approx(np.mean([(m > 0).mean() for m in masks]))
    text = format_report(report)
    assert 'ant' in text and '2 groups, 5 images' in text and '0 errors, 0 warnings' in text


def test_everything_wrong_is_found_at_once(root):
    images, masks = root / 'images', root / 'masks'
    ant = sorted((images / 'ant').iterdir())
    bee = sorted((images / 'bee').iterdir())
    ant[0].write_text('broken')
    (masks / 'ant' / f'{ant[1].stem}.png').unlink()
    Image.new('L', (4, 4)).save(masks / 'ant' / f'{ant[2].stem}.png')
    Image.new('L', (30, 20)).save(masks / 'ant' / 'orphan.png')
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30).astype(np.uint8)).save(
        masks / 'bee' / f'{bee[0].stem}.png'
    )
    (images / 'ant' / f'copy{ant[1].suffix}').write_bytes(ant[1].read_bytes())
    Image.new('L', (30, 20)).save(masks / 'ant' / 'copy.png')
    twin = '.bmp' if bee[0].suffix != '.bmp' else '.jpg'
    Image.open(bee[0]).save(bee[0].with_suffix(twin))
    (images / 'bee' / 'notes.txt').touch()
    (images / 'bee' / 'loop.png').symlink_to(images / 'bee' / 'loop.png')
    (images / 'cow').mkdir()
    (images / 'dog').mkdir()
    Image.new('RGB', (30, 20)).save(images / 'dog' / 'only.png')
    (masks / 'emu').mkdir()
    (images / 'stray.jpg').touch()

    report, found = problems(root)
    expected = {
        ('error', ant[0].name): 'cannot be used',
        ('error', f'{ant[1].stem}.png'): 'is missing',
        ('error', f'{ant[2].stem}.png'): 'is (4, 4)',
        ('error', 'orphan.png'): 'mask of no image',
        ('error', f'{bee[0].stem}.png'): 'different values',
        ('error', 'loop.png'): 'a link to nothing',
        ('error', 'cow'): 'holds no image',
        ('error', 'only.png'): 'is missing',
        ('error', 'emu'): 'without a folder of images',
        ('warning', 'dog'): 'one image',
        ('warning', 'notes.txt'): 'no image',
        ('warning', 'stray.jpg'): 'beside the groups',
    }
    for key, message in expected.items():
        assert message in found.get(key, ''), (key, found)
    messages = [p.message for p in report.problems]
    assert any('has the stem of' in message for message in messages)
    assert any('the same content' in message for message in messages)
    text = format_report(report)
    assert all(p.path in text for p in report.problems)
    assert text.index('error:') < text.index('warning:')


def test_no_masks_and_no_folder(root, tmp_path):
    (root / 'masks').rename(root / 'elsewhere')
    report, found = problems(root)
    assert not report.errors and 'not scored' in found['warning', 'masks']
    with pytest.raises(FileNotFoundError, match='there is no folder'):
        check_data(tmp_path / 'none')


def test_an_ambiguous_255_is_pointed_out(root):
    for number, mask in enumerate(sorted((root / 'masks' / 'ant').iterdir())):
        values = np.asarray(Image.open(mask)) > 0
        Image.fromarray(np.uint8(values * (255 if number else 1))).save(mask)
    report, found = problems(root)
    assert not report.errors
    assert 'object or void' in found['warning', 'masks']


def test_a_smoothed_mask_is_found(root):
    mask = next((root / 'masks' / 'bee').iterdir())
    pixels = np.asarray(Image.open(mask)).copy()
    pixels[0, :3] = 0, 128, 255
    Image.fromarray(pixels).save(mask)
    _, found = problems(root)
    assert "values='threshold'" in found['error', mask.name]


def write_mask(root, group, number, values):
    """A mask with a band of each of these values, all of one size."""
    image = sorted((root / 'images' / group).iterdir())[number]
    width, height = Image.open(image).size
    bands = np.repeat(np.array(values, np.uint8), height * width // len(values))
    Image.fromarray(bands.reshape(height, width)).save(root / 'masks' / group / f'{image.stem}.png')


def test_classes_are_counted(root):
    for kind in ('images', 'masks'):
        (root / kind / 'ant').rename(root / kind / 'leaf+ant')
    for number, values in enumerate(([0, 1, 255], [0, 1, 2], [0, 2])):
        write_mask(root, 'leaf+ant', number, values)
    for number in range(2):
        write_mask(root, 'bee', number, [0, 1])
    report, found = problems(root)
    assert not found
    assert report.groups['leaf+ant'].class_images == {1: 2, 2: 2}
    assert report.groups['leaf+ant'].object_share == pytest.approx((1 / 3 + 2 / 3 + 1 / 2) / 3)
    assert report.groups['bee'].class_images == {}
    rows = [row for row in format_report(report).splitlines() if '│' in row]
    assert [row.split('│')[3].strip() for row in rows] == ['-', '2, 2']


def test_classes_without_a_name_and_names_without_a_class(root):
    write_mask(root, 'ant', 0, [0, 1, 3])
    _, found = problems(root)
    assert 'values up to 3, but names of 1: ant; rename' in found['warning', 'ant']

    (root / 'classes.json').write_text('{"ant": ["leaf", "twig", "ant"], "wasp": ["wasp"]}')
    _, found = problems(root)
    assert found['warning', 'ant'] == "has no mask with 2, 'twig'"
    assert "'wasp', which is no group" in found['warning', 'classes.json']

    (root / 'classes.json').write_text('{"ant": ["leaf", "leaf"]}')
    _, found = problems(root)
    assert 'cannot be used' in found['error', 'classes.json']

    (root / 'classes.json').unlink()
    for kind in ('images', 'masks'):
        (root / kind / 'ant').rename(root / kind / 'ant+ant')
    _, found = problems(root)
    assert 'tells classes apart, but the name of' in found['warning', 'ant+ant']
