import os
import subprocess
import sys
import zlib

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mmcoseg.datasets import CoSegDataset, EpisodeSampler, SyntheticCoSegDataset, group_collate
from mmcoseg.datasets.synthetic import SceneObject, category, render_scene, scene
from mmcoseg.datasets.synthetic.shapes import SHAPES, Part, make_shape
from mmcoseg.datasets.synthetic.textures import TEXTURES, fractal_noise, make_pattern
from mmcoseg.registry import DATASETS

LOAD = [dict(type='LoadCoSegImage'), dict(type='LoadCoSegMask', with_instances=True)]


def pipeline(*before, binary=True):
    load = [LOAD[0], dict(LOAD[1], binary=binary)]
    return [*before, dict(type='ForEachImage', transforms=load), dict(type='PackGroupInputs')]


def small(**kwargs):
    options = dict(num_categories=4, images_per_group=3, image_size=(48, 64))
    return SyntheticCoSegDataset(**{**options, **kwargs})


def renders(dataset, group=0):
    return [image['render'] for image in dataset.get_data_info(group)['images']]


# Rendering


def test_an_image_does_not_depend_on_what_was_rendered_before():
    forward = [render.load() for render in renders(small(), 1)]
    np.random.seed(123)
    backward = [render.load() for render in reversed(renders(small(), 1))][::-1]
    for (image, instances), (again, instances_again) in zip(forward, backward):
        np.testing.assert_array_equal(image, again)
        assert instances == instances_again
    assert not np.array_equal(forward[0][0], forward[1][0])


def test_rendering_leaves_global_generators_alone():
    np.random.seed(5)
    expected = np.random.random()
    np.random.seed(5)
    renders(small())[0].load()
    assert np.random.random() == expected


@pytest.mark.slow
def test_a_fresh_process_renders_the_same():
    code = (
        'import zlib; from mmcoseg.datasets import SyntheticCoSegDataset as D; '
        'd = D(num_categories=4, images_per_group=3, image_size=(48, 64)); '
        "print(zlib.crc32(d.get_data_info(2)['images'][1]['render'].load()[0].tobytes()))"
    )
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path), 'PYTHONHASHSEED': '7'}
    output = subprocess.run(
        [sys.executable, '-c', code], env=env, capture_output=True, text=True, check=True
    ).stdout
    expected = zlib.crc32(renders(small(), 2)[1].load()[0].tobytes())
    assert int(output.split()[-1]) == expected


@pytest.mark.parametrize('change', [dict(seed=1), dict(split='test'), dict(category_offset=9)])
def test_seed_split_and_categories_change_the_images(change):
    image, other = renders(small())[0].load()[0], renders(small(**change))[0].load()[0]
    assert not np.array_equal(image, other)


def test_choosing_groups_does_not_change_their_images():
    dataset, chosen = small(), small(groups=['synth_002'])
    assert renders(chosen, 0) == renders(dataset, 2)
    assert chosen.get_data_info(0)['label_ids'] == dataset.get_data_info(2)['label_ids'] == (2,)


@pytest.mark.parametrize('size', [(32, 32), (64, 48), (61, 97)])
@pytest.mark.parametrize('count', [0, 1, 5])
def test_every_object_is_visible_and_no_two_share_a_pixel(size, count):
    for seed in range(4):
        objects = [SceneObject(10 * seed + k, 0.6) for k in range(count)]
        image, masks = render_scene((seed,), size, objects)
        assert image.shape == (*size, 3) and image.dtype == np.uint8
        assert masks.shape == (count, *size)
        assert masks.any(axis=(1, 2)).all()
        assert masks.sum(axis=0).max() <= 1


@pytest.fixture
def crisp_paint(monkeypatch):
    """Painting without light, shadows or soft edges: the color tells whose a pixel is."""

    def paint(rng, canvas, sprite, covers, center, side, light):
        canvas[covers.max(axis=0) > 0.5] = sprite.colors[0]

    monkeypatch.setattr(scene, '_paint', paint)


def test_masks_are_where_the_objects_were_painted(crisp_paint):
    """Blue, green and red discs on black."""
    angles = np.linspace(0, 2 * np.pi, 40)
    disc = [Part(np.stack([np.cos(angles), np.sin(angles)], axis=1))]
    for seed in range(10):
        rng = np.random.default_rng(seed)
        canvas, owner = np.zeros((80, 90, 3), np.float32), np.zeros((80, 90), np.uint8)
        for number in (1, 2, 3):
            side = int(rng.integers(12, 60)) if seed else 75  # crowded
            sprite = scene._Sprite(disc, np.eye(2), [np.eye(3)[number - 1]], 'spots', rng)
            scene._place(rng, canvas, owner, number, sprite, side, None)
        np.testing.assert_array_equal(canvas > 0.5, owner[..., None] == [1, 2, 3])


def test_what_stands_in_front_is_not_in_the_mask(crisp_paint):
    hidden = 0
    for seed in range(30):
        owner = np.zeros((64, 64), np.uint8)
        owner[16:48, 16:48] = 1
        canvas = np.repeat(owner[..., None], 3, axis=2).astype(np.float32)
        palette = [np.zeros(3, np.float32)] * 5
        before = owner.sum()
        scene._occlude(np.random.default_rng(seed), canvas, owner, palette, None)
        assert owner.sum() >= 0.67 * before
        np.testing.assert_array_equal(canvas[..., 0], owner)  # black covers the object
        hidden += int(before - owner.sum())
    assert hidden > 0


def test_background_falls_off_as_in_photographs():
    """The amplitude spectrum of noise of exponent a has slope -a in double logarithmic axes."""
    for exponent in (0.5, 1.0, 1.5):
        field = np.mean(
            [
                np.abs(np.fft.fft2(fractal_noise(np.random.default_rng(i), (256, 256), exponent)))
                for i in range(8)
            ],
            axis=0,
        )
        frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
        band = (frequency > 4 / 256) & (frequency < 0.25)
        slope = np.polyfit(np.log(frequency[band]), np.log(field[band]), 1)[0]
        assert slope == pytest.approx(-exponent, abs=0.3)


# Categories


@pytest.mark.parametrize('family', SHAPES)
def test_shapes_are_normalized_and_vary(family):
    for number in range(6):
        parts, pose = make_shape(
            family, np.random.default_rng(number), np.random.default_rng(100 + number)
        )
        points = np.concatenate([part.points for part in parts])
        half = np.abs(points).max(0)
        assert np.isfinite(points).all() and half.max() <= 1.6 + 1e-6
        np.testing.assert_allclose(points.min(0), -points.max(0), atol=1e-6)
        assert {part.slot for part in parts} <= {0, 1}
        assert abs(np.linalg.det(pose)) > 0.1
        again, _ = make_shape(family, np.random.default_rng(number), np.random.default_rng(5))
        assert not np.array_equal(points, np.concatenate([part.points for part in again]))


@pytest.mark.parametrize('family', TEXTURES)
def test_textures_stay_in_range_and_have_contrast(family):
    y, x = np.mgrid[-1:1:40j, -1:1:50j].astype(np.float32)
    for number in range(4):
        rngs = np.random.default_rng(number), np.random.default_rng(50 + number)
        pattern = make_pattern(family, *rngs, x, y)
        assert pattern.shape == x.shape and pattern.dtype == np.float32
        assert 0 <= pattern.min() and pattern.max() <= 1
        assert pattern.std() > 0.02


def test_neighboring_categories_share_neither_shape_nor_texture():
    window = [category(index) for index in range(37, 77)]
    assert len({kind.shape for kind in window[:8]}) == 8
    assert len({kind.texture for kind in window[:5]}) == 5
    assert len({(kind.shape, kind.texture) for kind in window}) == len(window)
    everyone = [category(index) for index in range(200)]
    assert len({(k.shape, k.texture, k.colors) for k in everyone}) == 200
    with pytest.raises(ValueError, match='non-negative'):
        category(-1)


# The data set


def test_records_and_items():
    dataset = DATASETS.build(
        dict(
            type='SyntheticCoSegDataset',
            num_categories=3,
            category_offset=7,
            images_per_group=4,
            image_size=(48, 64),
            pipeline=pipeline(),
            test_mode=True,
        )
    )
    assert dataset.metainfo['classes'] == ('synth_007', 'synth_008', 'synth_009')
    item = dataset[1]
    assert item['data_samples'].label_ids == (1,)
    for number, (image, sample) in enumerate(zip(item['inputs'], item['data_samples'])):
        assert image.shape == (3, 48, 64)
        assert sample.identity == f'synth_008/{number:03}'
        mask = sample.gt_sem_seg.data[0]
        assert torch.equal(mask > 0, sample.gt_instances.masks.any(0))
        assert sample.gt_instances.labels.tolist() == [1] * len(sample.gt_instances)
        assert 1 <= len(sample.gt_instances) <= 2


def test_several_classes_have_a_value_each():
    dataset = small(classes_per_image=2, distractors=(1, 1), pipeline=pipeline(binary=False))
    groups = [dataset.get_data_info(i)['group'] for i in range(len(dataset))]
    assert groups == [
        'synth_000+synth_001',
        'synth_001+synth_002',
        'synth_002+synth_003',
        'synth_000+synth_003',
    ]
    item = dataset[3]
    assert item['data_samples'].label_ids == (0, 3)
    for sample in item['data_samples']:
        mask, instances = sample.gt_sem_seg.data[0], sample.gt_instances
        assert set(mask.unique().tolist()) == {0, 1, 2}
        for value, label in ((1, 0), (2, 3)):
            assert torch.equal(mask == value, instances.masks[instances.labels == label].any(0))


def test_two_categories_of_two_classes_are_one_group():
    assert len(small(num_categories=2, classes_per_image=2)) == 1


def test_images_without_the_object():
    dataset = small(empty_share=0.5, images_per_group=40, pipeline=pipeline(), image_size=(32, 32))
    filled = [bool((s.gt_sem_seg.data > 0).any()) for s in dataset[0]['data_samples']]
    assert 8 < sum(filled) < 32
    labels = [0 in image['label_ids'] for image in dataset.get_data_info(0)['images']]
    assert labels == filled
    nothing = small(empty_share=1.0, pipeline=pipeline())[0]['data_samples']
    assert all((sample.gt_sem_seg.data == 0).all() for sample in nothing)


def test_distractors_never_recur_and_carry_their_labels():
    dataset = small(distractors=(2, 2), images_per_group=10)
    for group in range(len(dataset)):
        seen = []
        for image in dataset.get_data_info(group)['images']:
            render = image['render']
            strange = [item.category for item in render.objects if item.category != group]
            assert len(strange) == 2
            seen += strange
            assert set(image['label_ids']) == {label for label in render.labels if label >= 0}
        assert len(set(seen)) == len(seen)
        assert set(range(4)) - {group} <= set(seen)  # its own categories come first


def test_sampling_and_foreign_images():
    steps = [
        dict(type='SampleGroup', num_images=3),
        dict(type='MixForeignImages', prob=1.0),
    ]
    item = small(pipeline=pipeline(*steps))[(2, 11)]
    samples = item['data_samples']
    assert len(samples) == 3 and samples.label_ids == (2,)
    foreign = [sample for sample in samples if sample.get('foreign')]
    assert len(foreign) == 1
    assert foreign[0].group != 'synth_002' and (foreign[0].gt_sem_seg.data == 0).all()


def test_workers_change_nothing():
    batches = []
    for workers in (0, 2):
        dataset = small(pipeline=pipeline(dict(type='SampleGroup', num_images=2)))
        loader = iter(
            DataLoader(
                dataset,
                batch_size=2,
                sampler=EpisodeSampler(dataset, seed=0),
                collate_fn=group_collate,
                num_workers=workers,
            )
        )
        batches.append([next(loader) for _ in range(2)])
    for one, other in zip(*batches):
        for images, others in zip(one['inputs'], other['inputs']):
            assert all(torch.equal(a, b) for a, b in zip(images, others))


@pytest.mark.parametrize('classes', [1, 2])
def test_exported_files_hold_the_same(tmp_path, classes):
    dataset = small(classes_per_image=classes, empty_share=0.3, pipeline=pipeline(binary=False))
    root = dataset.export(tmp_path / 'set', 'png')
    files = CoSegDataset(
        data_root=str(root), pipeline=pipeline(binary=False)[:1] + pipeline()[1:], test_mode=True
    )
    names = [dataset.get_data_info(i)['group'] for i in range(len(dataset))]
    assert sorted(names) == [files.get_data_info(i)['group'] for i in range(len(files))]
    for i in range(len(files)):
        ours, theirs = dataset[names.index(files.get_data_info(i)['group'])], files[i]
        for a, b in zip(ours['inputs'], theirs['inputs']):
            assert torch.equal(a, b)
        for a, b in zip(ours['data_samples'], theirs['data_samples']):
            assert a.identity == b.identity
            assert torch.equal(a.gt_sem_seg.data, b.gt_sem_seg.data)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(num_categories=0), 'num_categories must be a whole number, at least 1, got 0'),
        (dict(category_offset=-1), 'category_offset must be a whole number, at least 0, got -1'),
        (dict(distractors=(2, 1)), r'distractors\[1\], the largest .* at least 2, got 1'),
        (dict(distractors=(-1, 1)), r'distractors\[0\], .* at least 0, got -1'),
        (dict(empty_share=1.2), r'empty_share must be a number from 0 to 1, got 1.2'),
        (dict(classes_per_image=5), 'classes_per_image=5 needs .* got num_categories=4'),
        (dict(image_size=(16, 64)), r'at least 32 pixels, got \(16, 64\)'),
        (dict(groups=['cat']), r"SyntheticCoSegDataset\(.* has no group \['cat'\]; it has .*synth"),
        (dict(metainfo=dict(classes=('cat',))), "lacks 'synth_000'; .* needs all of synth_000"),
    ],
)
def test_errors_name_the_option(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


def test_export_error(tmp_path):
    with pytest.raises(ValueError, match="image_format must be one of .*, got 'gif'"):
        small().export(tmp_path, 'gif')


def test_classes_of_a_larger_catalogue_give_their_numbers():
    names = ('cat', *(f'synth_{i:03}' for i in range(4)))
    dataset = small(metainfo=dict(classes=names))
    assert dataset.get_data_info(0)['label_ids'] == (1,)


# The command


@pytest.mark.slow
def test_command_writes_a_data_set(tmp_path, repo, repo_env):
    command = [sys.executable, str(repo / 'tools' / 'misc' / 'render_synthetic.py')]
    options = ['--out', 'out', '--categories', '2', '--images', '2', '--size', '32', '48']
    done = subprocess.run(
        [*command, *options], cwd=tmp_path, env=repo_env, capture_output=True, text=True, check=True
    )
    assert '2 groups of 2 images are in out' in done.stdout
    assert len(list(tmp_path.glob('out/images/*/*.jpg'))) == 4
    assert len(list(tmp_path.glob('out/masks/*/*.png'))) == 4
    wrong = subprocess.run(
        [*command, *options, '--empty-share', '3'],
        cwd=tmp_path,
        env=repo_env,
        capture_output=True,
        text=True,
    )
    assert wrong.returncode == 1
    assert wrong.stderr.strip().endswith('empty_share must be a number from 0 to 1, got 3.0')
