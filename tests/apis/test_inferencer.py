"""Segmenting groups from Python."""

import random
import shutil
import warnings

import numpy as np
import pytest
import torch
from conftest import make_image, write_images
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from PIL import Image
from scipy import ndimage

from mmcoseg.apis import CoSegInferencer, InferenceOptions
from mmcoseg.apis import inferencer as inferencer_module
from mmcoseg.apis.inference_config import inference_config
from mmcoseg.config_files import METHODS, find_config
from mmcoseg.datasets.image_io import image_of, read_image
from mmcoseg.engine.run_config import optimizes_groups
from mmcoseg.registry import TASK_UTILS, TRANSFORMS
from mmcoseg.workers import default_workers


def masks_of(groups):
    return {image.identity: image.pred_sem_seg.data.numpy() for group in groups for image in group}


def assert_equal(a, b):
    assert list(a) == list(b)
    for key in a:
        np.testing.assert_array_equal(a[key], b[key])


def test_every_image_gets_a_mask_of_its_size(photos, tiny_config):
    write_images(photos / 'cat', ['tall.png'], size=(50, 10))
    groups = CoSegInferencer(config=tiny_config)(photos)
    assert [(group.group, len(group)) for group in groups] == [('cat', 4), ('dog', 2)]
    assert all(group.skipped == [] for group in groups)
    for group in groups:
        for image in group:
            assert image.file_name.startswith(image.stem) and image.absent is False
            np.testing.assert_array_equal(image_of(image), read_image(image.img_path))
            mask = image.pred_sem_seg.data
            assert mask.dtype == torch.uint8 and mask.shape[1:] == image_of(image).shape[:2]
            # The brighter pixels are the object.
            bright = image_of(image).mean(axis=2) > 110
            assert ((mask[0].numpy() > 0) == bright).mean() > 0.85
            assert 'gt_sem_seg' not in image and 0 <= image.presence <= 1


def test_arrays_files_and_pillow_images_give_the_same(photos, tiny_config):
    inferencer = CoSegInferencer(config=tiny_config)
    files = sorted((photos / 'cat').iterdir())
    arrays = [read_image(file) for file in files]
    pictures = [Image.open(file) for file in files]
    rgb = [array[:, :, ::-1] for array in arrays]
    (first, *others) = (
        list(masks_of(inferencer(dict(g=value))).values()) for value in (files, arrays, pictures)
    )
    others.append(list(masks_of(inferencer(dict(g=rgb), channel_order='rgb')).values()))
    for other in others:
        for a, b in zip(first, other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('count', [1, 2, 1000])
def test_groups_of_any_size(tiny_config, count):
    images = [make_image(seed % 7) for seed in range(count)]
    (group,) = CoSegInferencer(config=tiny_config)(images)
    assert len(group) == count
    assert len({image.identity for image in group}) == count


def test_identical_images_get_identical_masks(tiny_config):
    image = make_image()
    picture = Image.fromarray(image[:, :, ::-1])
    (group,) = CoSegInferencer(config=tiny_config, num_workers=4)([image, picture, image, picture])
    masks = [sample.pred_sem_seg.data for sample in group]
    assert all(torch.equal(mask, masks[0]) for mask in masks)


def test_the_result_depends_on_the_seed_only(photos, tiny_config):
    options = {'model.noise': 2.0}

    def masks(inputs=photos, **kwargs):
        return masks_of(CoSegInferencer(config=tiny_config, cfg_options=options, **kwargs)(inputs))

    expected = masks(num_workers=0)
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    state = random.getstate(), torch.get_rng_state()
    for workers in (1, 2, 5, None):
        assert_equal(masks(num_workers=workers), expected)
    assert state[0] == random.getstate() and torch.equal(state[1], torch.get_rng_state())
    # Nor on the groups before it.
    alone = masks(photos / 'dog')
    assert_equal(alone, {key: value for key, value in expected.items() if key in alone})
    assert any((masks(seed=1)[key] != value).any() for key, value in expected.items())


def test_streams_group_by_group(photos, tiny_config):
    stream = CoSegInferencer(config=tiny_config).stream(photos)
    assert next(stream).group == 'cat'
    shutil.rmtree(photos / 'dog')
    (file, _) = next(stream).skipped
    assert file.file_name == '001.jpg' and 'is gone' in file.reason


def test_presence_threshold(photos, tiny_config):
    scores = [image.presence for image in CoSegInferencer(config=tiny_config)(photos)[0]]
    threshold = sorted(scores)[1]
    (group, _) = CoSegInferencer(config=tiny_config, presence_threshold=threshold)(photos)
    assert [image.absent for image in group] == [score < threshold for score in scores]
    for image in group:
        assert image.pred_sem_seg.data.any() != image.absent
    with pytest.raises(ValueError, match='presence_threshold .* number from 0 to 1, got 2'):
        CoSegInferencer(config=tiny_config, presence_threshold=2)


def test_a_method_without_presence_ignores_the_threshold(photos, tiny_config):
    inferencer = CoSegInferencer(
        config=tiny_config, cfg_options={'model.presence': False}, presence_threshold=1.0
    )
    with pytest.warns(UserWarning, match='gives no presence scores'):
        groups = inferencer(photos)
    assert not any(image.absent for group in groups for image in group)


def test_unreadable_images_are_left_out_and_named(photos, tiny_config):
    (photos / 'cat' / '002.png').write_text('text')
    (photos / 'bad').mkdir()
    (photos / 'bad' / 'x.jpg').touch()
    groups = {group.group: group for group in CoSegInferencer(config=tiny_config)(photos)}
    assert [image.stem for image in groups['cat']] == ['001', '003']
    (file,) = groups['cat'].skipped
    assert file.file_name == '002.png' and 'cannot be read as an image' in file.reason
    assert len(groups['bad']) == 0 and 'x.jpg is empty' in groups['bad'].skipped[0].reason


def test_what_the_user_should_know_comes_as_a_warning(photos, tiny_config):
    (photos / 'cat' / 'clip.mp4').touch()
    inferencer = CoSegInferencer(config=tiny_config)
    with pytest.warns(UserWarning, match=r'clip\.mp4'):
        inferencer(photos)


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(inferencer_module, '_PART_IMAGES', 3)


@pytest.mark.parametrize('postprocessors', [[], [dict(type='DenseCRF')]])
def test_parts_are_the_group(tiny_config, small_parts, postprocessors):
    images = [make_image(seed) for seed in range(8)]
    inferencer = CoSegInferencer(
        config=tiny_config,
        cfg_options={'model.noise': 2.0, 'model.postprocessors': postprocessors},
        presence_threshold=0.3,
    )
    (whole,) = inferencer(images)
    parts = list(inferencer.stream(images, parts=True))
    assert [len(part) for part in parts] == [3, 3, 2]
    assert_equal(masks_of(parts), masks_of([whole]))
    for image, other in zip(whole, (image for part in parts for image in part), strict=True):
        assert torch.equal(image.pred_prob.data, other.pred_prob.data)
        assert (image.presence, image.absent) == (other.presence, other.absent)
    assert all(part.group == whole.group for part in parts)


def test_parts_of_a_group_that_nothing_can_be_read_of(photos, tiny_config, small_parts):
    for file in (photos / 'cat').iterdir():
        file.write_text('text')
    (photos / 'dog' / '002.jpg').write_text('text')
    cat, dog = CoSegInferencer(config=tiny_config).stream(photos, parts=True)
    assert (len(cat), len(cat.skipped)) == (0, 3)
    assert (len(dog), len(dog.skipped)) == (1, 1)


def test_parts_end_at_a_number_of_pixels(tiny_config, monkeypatch):
    monkeypatch.setattr(inferencer_module, '_PART_PIXELS', 1000)
    shapes = [(20, 20), (20, 30), (20, 30), (90, 90), (2, 2)]
    images = [make_image(seed, size) for seed, size in enumerate(shapes)]
    parts = CoSegInferencer(config=tiny_config).stream(images, parts=True)
    assert [len(part) for part in parts] == [2, 1, 1, 1]


@TASK_UTILS.register_module()
class CountImagesForTest:
    """Must see the whole group."""

    def __call__(self, group):
        for sample in group:
            sample.set_metainfo(dict(of=len(group)))


def test_postprocessors_that_need_the_whole_group_get_it(tiny_config, small_parts):
    options = {'model.postprocessors': [dict(type='CountImagesForTest')]}
    inferencer = CoSegInferencer(config=tiny_config, cfg_options=options)
    parts = list(inferencer.stream([make_image(seed) for seed in range(4)], parts=True))
    assert [[image.of for image in part] for part in parts] == [[4, 4, 4], [4]]


@TASK_UTILS.register_module()
class InvertForTest:
    def __call__(self, group):
        for sample in group:
            sample.pred_sem_seg.data = 1 - sample.pred_sem_seg.data


def test_postprocessors_belong_to_the_model(photos, tiny_config):
    cfg = Config.fromfile(tiny_config)
    plain = masks_of(CoSegInferencer(config=cfg)(photos))
    cfg.model.postprocessors = [dict(type='InvertForTest')]
    inverted = masks_of(CoSegInferencer(config=cfg, crf=False)(photos))
    assert all((inverted[key] == 1 - mask).all() for key, mask in plain.items())


def test_postprocessors_can_all_be_removed(photos, tiny_config):
    options = {'model.postprocessors': None}
    plain = masks_of(CoSegInferencer(config=tiny_config)(photos))
    without = masks_of(CoSegInferencer(config=tiny_config, cfg_options=options)(photos))
    assert all((without[key] == mask).all() for key, mask in plain.items())


def test_crf_can_be_left_out(tiny_config):
    cfg = Config.fromfile(tiny_config)
    cfg.model.postprocessors = [dict(type='InvertForTest'), dict(type='mmcoseg.DenseCRF')]
    assert len(inference_config(InferenceOptions(config=cfg)).model.postprocessors) == 2
    (left,) = inference_config(InferenceOptions(config=cfg, crf=False)).model.postprocessors
    assert left.type == 'InvertForTest'
    assert len(cfg.model.postprocessors) == 2  # the user's own is as it was


def cleaning_of(**kwargs):
    steps = inference_config(InferenceOptions(**kwargs)).model.postprocessors
    return [step for step in steps if step['type'] == 'CleanMask']


@TASK_UTILS.register_module()
class OwnCRFForTest(InvertForTest):
    uses_crf = True
    workers = []

    def __call__(self, group):
        self.workers.append(default_workers())


@TRANSFORMS.register_module()
class OwnAnnotationsForTest(BaseTransform):
    needs_annotations = True

    def transform(self, results):
        raise AssertionError('there are no annotations')


def test_parts_of_others_say_themselves_what_they_need(photos, tiny_config):
    cfg = Config.fromfile(tiny_config)
    cfg.model.postprocessors = [dict(type='OwnCRFForTest')]
    cfg.test_pipeline[0].transforms += [
        dict(type='OwnAnnotationsForTest'),
        dict(type='mmseg.LoadAnnotations'),
    ]
    for workers in (3, 0):
        OwnCRFForTest.workers.clear()
        for parts in (True, False):
            list(CoSegInferencer(config=cfg, num_workers=workers).stream(photos, parts=parts))
        assert set(OwnCRFForTest.workers) == {workers}
    assert inference_config(InferenceOptions(config=cfg, crf=False)).model.postprocessors == []


@pytest.mark.parametrize('method', METHODS)
def test_masks_of_every_method_are_cleaned(method):
    for crf in (True, False):
        assert cleaning_of(method=method, crf=crf) == [dict(type='CleanMask')]
    (step,) = cleaning_of(method=method, min_area=0)
    assert step == dict(type='CleanMask', min_share=0.0, hole_share=0.0, min_area=0, largest=False)
    assert cleaning_of(method=method, largest=True) == [dict(type='CleanMask', largest=True)]


def test_any_model_can_be_cleaned(tiny_config, tmp_path):
    assert 'postprocessors' not in inference_config(InferenceOptions(config=tiny_config)).model
    (step,) = cleaning_of(config=tiny_config, min_area=60)
    assert step['min_area'] == 60
    image = np.full((24, 24, 3), 140, np.uint8)
    image[2:12, 2:12] = image[16:20, 16:20] = 255
    options = dict(config=tiny_config)
    for more, parts in ((dict(), 2), (dict(min_area=60), 1), (dict(largest=True), 1)):
        ((sample,),) = CoSegInferencer(**options, **more)(image)
        assert ndimage.label(sample.pred_sem_seg.data[0])[1] == parts


def test_self_training_goes_with_the_crf_that_draws_its_targets():
    assert 'self_training' in inference_config(InferenceOptions()).model.stages
    assert 'self_training' not in inference_config(InferenceOptions(crf=False)).model.stages
    plain = InferenceOptions(crf=False, cfg_options={'model.stages.self_training.targets': None})
    assert 'self_training' in inference_config(plain).model.stages


def test_weights(tmp_path, photos, tiny_config):
    inferencer = CoSegInferencer(config=tiny_config)
    state = dict(inferencer.model.state_dict(), gain=torch.tensor(-8.0))
    torch.save(dict(state_dict=state, meta={}), tmp_path / 'w.pth')
    loaded = CoSegInferencer(config=tiny_config, weights=tmp_path / 'w.pth')
    assert loaded.model.gain == -8
    before, after = masks_of(inferencer(photos)), masks_of(loaded(photos))
    assert all((after[key] != mask).mean() > 0.9 for key, mask in before.items())
    torch.save(dict(other=torch.ones(3)), tmp_path / 'other.pth')
    with pytest.raises(ValueError, match=r'other\.pth holds weights of another model'):
        CoSegInferencer(config=tiny_config, weights=tmp_path / 'other.pth')
    with pytest.raises(FileNotFoundError, match='no checkpoint .*none'):
        CoSegInferencer(config=tiny_config, weights=tmp_path / 'none.pth')


class Evil:
    def __reduce__(self):
        return print, ('run',)


def test_weights_run_no_code(tmp_path, tiny_config, capsys):
    torch.save(dict(state_dict={}, evil=Evil()), tmp_path / 'evil.pth')
    with pytest.raises(ValueError, match='holds more than tensors and plain data'):
        CoSegInferencer(config=tiny_config, weights=tmp_path / 'evil.pth')
    assert 'run' not in capsys.readouterr().out


def test_a_trained_method_needs_weights_and_works_with_them(tmp_path, photos):
    name = 'ssnm_efficientnet-lite0_synthetic'
    with pytest.raises(ValueError, match='a model that must be trained: give the weights'):
        CoSegInferencer(config=name)
    resize = dict(type='Resize', scale=(64, 64), keep_ratio=False)
    cfg = Config.fromfile(str(find_config(name)))
    cfg.model.backbone.weights = None
    cfg.test_dataloader.dataset.pipeline[0].transforms.append(resize)
    untrained = cfg.copy()
    untrained.pop('train_cfg')
    model = CoSegInferencer(config=untrained).model
    # Trained on other categories: a classifier that only training uses does not fit.
    state = model.state_dict()
    classifier = [key for key in state if 'modulators.semantic' in key and state[key].dim() > 0]
    state = {key: value for key, value in state.items() if key != classifier[-1]}
    torch.save(dict(state_dict=state), tmp_path / 'w.pth')
    with pytest.warns(UserWarning, match=classifier[-1]):
        inferencer = CoSegInferencer(config=cfg, weights=tmp_path / 'w.pth')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        groups = inferencer(photos)
    assert [len(group) for group in groups] == [3, 2]
    assert groups[0][0].pred_sem_seg.data.shape == (1, 20, 30)


def test_wrong_arguments(tiny_config, tmp_path):
    with pytest.raises(ValueError, match=r"no method 'fly', only \['consensus'"):
        CoSegInferencer('fly')
    with pytest.raises(FileNotFoundError, match='no config'):
        CoSegInferencer(config='nowhere')
    with pytest.raises(ValueError, match='device'):
        CoSegInferencer(config=tiny_config, device='rocket')
    with pytest.raises(ValueError, match='num_workers .* must be a whole number, at least 0'):
        CoSegInferencer(config=tiny_config, num_workers=-1)
    (tmp_path / 'empty.py').write_text("default_scope = 'mmcoseg'\n")
    with pytest.raises(ValueError, match=r'empty\.py has no model'):
        CoSegInferencer(config=tmp_path / 'empty.py')
    (tmp_path / 'no_data.py').write_text("model = dict(type='TinySegmentor')\n")
    with pytest.raises(ValueError, match='no test_dataloader'):
        CoSegInferencer(config=tmp_path / 'no_data.py')


@pytest.mark.parametrize('method', METHODS)
def test_methods_are_configs_that_need_no_weights(method):
    cfg = inference_config(InferenceOptions(method))
    assert cfg.get('load_from') is None
    # Trained, if at all, on the very images that are segmented.
    assert cfg.get('train_cfg') is None or optimizes_groups(cfg)


def test_what_a_method_marks_as_absent_stays_so(photos, tiny_config, monkeypatch):
    inferencer = CoSegInferencer(config=tiny_config)
    finish = inferencer.model.finish

    def mark(group):
        finish(group)
        group[0].set_metainfo(dict(absent=True))

    monkeypatch.setattr(inferencer.model, 'finish', mark)
    group = next(inferencer.stream(photos))
    assert [sample.absent for sample in group] == [True] + [False] * (len(group) - 1)
    assert not group[0].pred_sem_seg.data.any()
