"""How the command line's wishes change a config, and the hook that seeds iterations."""

import json
import os
import re
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmcoseg.datasets import CoSegDataset, group_collate
from mmcoseg.engine import IterationSeedHook, launch, run_config
from mmcoseg.engine.launch import last_checkpoint, run_test, run_training
from mmcoseg.engine.run_config import (
    datasets_of,
    hand_over_input_size,
    keyed_datasets,
    load_config,
    select_data,
)
from mmcoseg.errors import MMCosegError
from mmcoseg.registry import DATASETS, HOOKS, MODELS


@pytest.fixture(autouse=True)
def without_data_folder(monkeypatch):
    """The variable by which tests find photographs also tells runs where data are."""
    monkeypatch.delenv('MMCOSEG_DATA', raising=False)


def config() -> Config:
    files = dict(type='CoSegDataset', data_root='old')
    drawn = dict(type='SyntheticCoSegDataset')
    return Config(
        dict(
            model=dict(
                modulators=dict(semantic=dict(num_classes=78), spatial=dict(level=1), none=None)
            ),
            train_dataloader=dict(dataset=files),
            val_dataloader=dict(
                dataset=dict(type='ConcatDataset', datasets=[files, drawn]), batch_size=1
            ),
            # As MultiTestLoop has it.
            test_dataloader=dict(first=dict(dataset=files), second=None),
        )
    )


def test_data_sets_are_found_in_wrappers_and_named_sets():
    cfg = config()
    count = [
        len(list(datasets_of(cfg[f'{split}_dataloader']))) for split in ('train', 'val', 'test')
    ]
    assert count == [1, 2, 1]
    assert list(datasets_of(None)) == []


def test_select_data():
    cfg = config()
    select_data(cfg, 'new', ['a', 'b', 'c'], ['d'])
    train, val, test = cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader
    assert train.dataset.data_root == 'new'
    assert train.dataset.groups == ['a', 'b', 'c']
    files, drawn = val.dataset.datasets
    assert (files.data_root, files.groups) == ('new', ['d'])
    assert 'data_root' not in drawn
    assert 'groups' not in drawn
    assert test.first.dataset.groups == ['d']
    assert cfg.model.modulators.semantic.num_classes == 3
    assert 'num_classes' not in cfg.model.modulators.spatial


def test_select_data_refuses_what_cannot_be():
    with pytest.raises(ValueError, match=r"the groups \['b'\] would be trained on"):
        select_data(config(), None, ['a', 'b'], ['b'])
    cfg = Config(dict(train_dataloader=dict(dataset=dict(type='SyntheticCoSegDataset'))))
    with pytest.raises(ValueError, match='--data-root new fits no data set'):
        select_data(cfg, 'new')
    with pytest.raises(ValueError, match='--test-groups fits no data set'):
        select_data(cfg, test_groups=['a'])


def several_roots(**top) -> Config:
    """Training on one data set, testing on two others, as COCO-SEG's config has it."""
    sets = {name: dict(dataset=dict(data_root=f'data/{name}')) for name in ('coco', 'a', 'b')}
    return Config(dict(train_dataloader=sets.pop('coco'), test_dataloader=sets, **top))


def test_the_data_root_is_that_of_one_set_where_a_config_has_several(monkeypatch):
    messages = []
    monkeypatch.setattr(run_config, 'print_log', lambda text, logger: messages.append(text))
    cfg = several_roots(data_root='data/coco/')
    select_data(cfg, 'new')
    assert cfg.data_root == cfg.train_dataloader.dataset.data_root == 'new'
    assert [cfg.test_dataloader[name].dataset.data_root for name in 'ab'] == ['data/a', 'data/b']
    (said,) = messages
    for name in 'ab':
        assert f'test_dataloader.{name}.dataset.data_root=data/{name}' in said


@pytest.mark.parametrize('top', [{}, dict(data_root='data/elsewhere')])
def test_a_data_root_that_could_be_of_any_set_is_asked_for(top):
    cfg = several_roots(**top)
    with pytest.raises(ValueError, match='could be of any data set') as error:
        select_data(cfg, 'new')
    for key in ('train_dataloader.dataset.data_root=data/coco', 'test_dataloader.b.dataset.data_'):
        assert key in str(error.value)
    assert cfg.train_dataloader.dataset.data_root == 'data/coco'


def test_data_sets_below_the_data_root_move_along():
    cfg = several_roots(data_root='data')
    select_data(cfg, 'new')
    assert cfg.data_root == 'new' and cfg.train_dataloader.dataset.data_root == 'new/coco'
    assert [cfg.test_dataloader[name].dataset.data_root for name in 'ab'] == ['new/a', 'new/b']


def test_a_variable_names_the_folder_of_all_data_sets(monkeypatch):
    monkeypatch.setenv('MMCOSEG_DATA', '/sets')
    cfg = several_roots(data_root='data/coco')
    cfg.test_dataloader.a.dataset.data_root = 'elsewhere/a'
    select_data(cfg)
    assert cfg.data_root == cfg.train_dataloader.dataset.data_root == '/sets/coco'
    roots = [cfg.test_dataloader[name].dataset.data_root for name in 'ab']
    assert roots == ['elsewhere/a', '/sets/b']
    select_data(cfg, 'new')  # and --data-root is what it ever is
    assert cfg.train_dataloader.dataset.data_root == 'new'


def test_the_keys_of_data_sets_are_found_in_wrappers():
    assert [key for key, _ in keyed_datasets(config())] == [
        'train_dataloader.dataset',
        'val_dataloader.dataset.datasets.0',
        'val_dataloader.dataset.datasets.1',
        'test_dataloader.first.dataset',
    ]


@pytest.mark.parametrize(
    ('groups', 'error', 'message'),
    [
        ('cat', MMCosegError, '--train-groups must be a list'),
        ([], ValueError, '--train-groups is empty'),
        (['a', 'b', 'a'], ValueError, r"--train-groups has \['a'\] more than once"),
    ],
)
def test_groups_are_a_list_of_some_names(groups, error, message):
    with pytest.raises(error, match=message):
        select_data(config(), train_groups=groups)


@pytest.mark.parametrize(
    ('wishes', 'seen'),
    [
        (dict(test_groups=['cat', 'horse'], training=True), ['cat']),
        (dict(train_groups=['horse', 'plant']), ['plant']),
        (dict(test_groups=['cat', 'horse']), None),  # of a model that is trained already
        (dict(test_groups=['horse'], training=True), None),
        (dict(train_groups=['plant'], test_groups=['cat']), None),
    ],
)
def test_half_a_wish_does_not_train_and_test_on_the_same_groups(wishes, seen):
    cfg = Config(
        dict(
            model=dict(),
            train_dataloader=dict(dataset=dict(type='CoSegDataset', groups=['car', 'cat'])),
            val_dataloader=dict(dataset=dict(type='CoSegDataset', groups=['plant'])),
        )
    )
    if seen is None:
        select_data(cfg, **wishes)
    else:
        with pytest.raises(ValueError, match=re.escape(f'the groups {seen} would be trained')):
            select_data(cfg, **wishes)


def test_amp_does_not_replace_an_optimizer_wrapper_of_its_own():
    cfg = Config(dict(optim_wrapper=dict(type='MyOptimWrapper')))
    with pytest.raises(ValueError, match='MyOptimWrapper'):
        run_training(cfg, amp=True)


def test_learning_rate_scaling_needs_its_base():
    with pytest.raises(ValueError, match='base_batch_size'):
        run_training(Config(dict()), auto_scale_lr=True)


def test_the_last_checkpoint_is_found_in_a_folder_that_was_moved(tmp_path):
    assert last_checkpoint(tmp_path) is None
    pointer, here = tmp_path / 'last_checkpoint', tmp_path / 'iter_2.pth'
    pointer.write_text('')  # what a full disk leaves
    assert last_checkpoint(tmp_path) is None
    pointer.write_text('/away/iter_2.pth\n')
    with pytest.raises(FileNotFoundError, match=r'last_checkpoint names /away/iter_2\.pth'):
        last_checkpoint(tmp_path)
    here.touch()
    assert last_checkpoint(tmp_path) == str(here)
    there = tmp_path / 'other' / 'iter_2.pth'  # where a hook was told to save
    there.parent.mkdir()
    there.touch()
    for name in (str(there), 's3://bucket/iter_2.pth'):
        pointer.write_text(name)
        assert last_checkpoint(tmp_path) == name


@pytest.mark.parametrize('checkpoint', [None, 'none'])
def test_a_trained_model_is_not_tested_without_its_weights(checkpoint):
    cfg = Config(dict(train_cfg=dict(max_iters=1)))
    with pytest.raises(ValueError, match='give the checkpoint to test'):
        run_test(cfg, checkpoint)


def draw(seed: int, rank: int, iteration: int, before: int = 0) -> torch.Tensor:
    torch.rand(before)
    runner = SimpleNamespace(seed=seed, rank=rank, iter=iteration)
    IterationSeedHook().before_train_iter(runner, 0)
    return torch.rand(4)


def test_iterations_draw_by_seed_rank_and_number_alone():
    reference = draw(0, 0, 5)
    assert torch.equal(reference, draw(0, 0, 5, before=100))
    for other in ((1, 0, 5), (0, 1, 5), (0, 0, 6)):
        assert not torch.equal(reference, draw(*other))


@pytest.fixture
def coco(tmp_path):
    """A miniature COCO: of 6 images all have a dog, and 4 a cat and a bird, too."""
    boxes = {1: (2, 2, 20, 20), 2: (30, 5, 50, 30), 3: (5, 22, 25, 38)}
    images, annotations = [], []
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'train2017').mkdir()
    for number in range(6):
        file = f'{number}.jpg'
        Image.new('RGB', (60, 40), (40 * number, 9, 9)).save(tmp_path / 'train2017' / file)
        images.append(dict(id=number, file_name=file, height=40, width=60))
        for category, (left, top, right, bottom) in boxes.items():
            if category == 3 or number < 4:
                outline = [left, top, right, top, right, bottom, left, bottom]
                annotations.append(
                    dict(
                        id=len(annotations),
                        image_id=number,
                        category_id=category,
                        segmentation=[outline],
                        area=(right - left) * (bottom - top),
                    )
                )
    categories = [dict(id=i, name=name) for i, name in enumerate(('cat', 'bird', 'dog'), 1)]
    content = dict(images=images, annotations=annotations, categories=categories)
    (tmp_path / 'annotations' / 'instances_train2017.json').write_text(json.dumps(content))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize('groups', [['cat'], ['dog', 'bird'], ['dog', 'cat', 'bird'], None])
def test_some_categories_of_coco_train_a_classifier_of_as_many(coco, groups):
    cfg = load_config(
        'ssnm_vgg16_cocoseg',
        {
            'train_dataloader.dataset.data_root': str(coco),
            'train_dataloader.dataset.min_images': 2,
            'train_dataloader.dataset.min_area': 100,
            'model.backbone.weights': None,
        },
        train_groups=groups,
    )
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    names = ('bird', 'cat', 'dog') if groups is None else tuple(sorted(groups))
    assert set(dataset.metainfo['classes']) == set(names)
    count = cfg.model.modulators.semantic.num_classes
    assert count == (78 if groups is None else len(groups))
    labels = [dataset[i]['data_samples'].label_ids for i in range(len(dataset))]
    assert len(labels) == len(names) and all(0 <= i < count for ids in labels for i in ids)
    model = MODELS.build(cfg.model)
    batch = group_collate([dataset[0]])
    losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    assert all(torch.isfinite(value).all() for value in losses.values())


@pytest.mark.parametrize(
    ('kind', 'known'),
    [
        ('CoSegDataset', ['a', 'b']),
        ('MSRC7Dataset', ['a', 'b']),  # its classes are the seven published ones
        ('COCOSEGDataset', ['a', 'b']),
        ('InstanceCoSegDataset', None),  # a group may have instances of several categories
        ('MultiClassCoSegDataset', None),
        ('SyntheticCoSegDataset', None),
    ],
)
def test_the_groups_trained_on_are_the_categories_where_a_category_is_a_group(kind, known):
    cfg = config()
    cfg.train_dataloader.dataset.type = kind
    select_data(cfg, train_groups=['b', 'a'])
    metainfo = cfg.train_dataloader.dataset.get('metainfo')
    assert metainfo == (known and dict(classes=known))
    assert cfg.model.modulators.semantic.num_classes == (2 if known else 78)


@pytest.mark.parametrize('launcher', ['slurm', 'mpi'])
def test_processes_are_named_by_what_started_them(launcher, monkeypatch, tmp_path):
    for name in ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.setenv(name, '')  # so that it is put back in the end
        monkeypatch.delenv(name)
    with pytest.raises(ValueError, match=f'^--launcher {launcher} needs the variables .*_RANK|ID'):
        launch._name_process(launcher)
    for name, value in dict(
        SLURM_PROCID='3', SLURM_LOCALID='1', SLURM_NTASKS='4', SLURM_NODELIST='node[7-8]',
        OMPI_COMM_WORLD_RANK='3', OMPI_COMM_WORLD_LOCAL_RANK='1', OMPI_COMM_WORLD_SIZE='4',
    ).items():  # fmt: skip
        monkeypatch.setenv(name, value)
    scontrol = tmp_path / 'scontrol'
    scontrol.write_text('#!/bin/sh\nprintf "node7\\nnode8\\n"\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
    launch._name_process(launcher)
    found = [os.environ.get(name) for name in ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'MASTER_PORT')]
    assert found == ['3', '1', '4', '29500']
    assert os.environ.get('MASTER_ADDR') == ('node7' if launcher == 'slurm' else None)


def test_single_missing_sets_do_not_end_all_validation(tmp_path):
    there = tmp_path / 'there' / 'images' / 'cat'
    there.mkdir(parents=True)
    Image.new('RGB', (8, 8)).save(there / '1.jpg')
    sets = {}
    for name in ('there', 'missing'):
        dataset = dict(type='CoSegDataset', data_root=str(tmp_path / name), test_mode=True)
        sets[name] = dict(dataset=dataset)
    several = Config(dict(val_dataloader=sets, val_cfg=dict(type='MultiTestLoop')))
    launch._leave_out_missing_validation(several)
    assert several.val_cfg is not None
    none = Config(dict(val_dataloader=dict(missing=sets['missing']), val_cfg=several.val_cfg))
    launch._leave_out_missing_validation(none)
    assert none.val_cfg is None


def test_best_checkpoints_are_those_of_high_scores_and_low_losses():
    hook = load_config('ssnm_hrnet_cocoseg', check=False).default_hooks.checkpoint
    for score, rule in dict(J='greater', P='greater', loss='less').items():
        assert HOOKS.build(dict(hook, save_best=score)).rules == [rule]


def test_data_sets_of_others_need_not_take_the_input_size():
    @DATASETS.register_module(force=True)
    class FixedDataset(CoSegDataset):
        def __init__(self, data_root, pipeline=(), test_mode=True):
            super().__init__(data_root, pipeline=pipeline, test_mode=test_mode)

    own = dict(type='FixedDataset', data_root='.')
    ours = dict(type='CoSegDataset', data_root='.')
    cfg = Config(
        dict(
            model=dict(data_preprocessor=dict(size=(8, 8))),
            train_dataloader=dict(dataset=own),
            test_dataloader=dict(dataset=ours),
        )
    )
    hand_over_input_size(cfg)
    assert 'network_input' not in cfg.train_dataloader.dataset
    assert cfg.test_dataloader.dataset.network_input.input_size == (8, 8)


def test_configs_that_cannot_be_read_are_named(tmp_path):
    for content in (b'model = dict(', b'x = "\xff"'):
        path = tmp_path / 'own.py'
        path.write_bytes(content)
        with pytest.raises(MMCosegError, match='own.py cannot be read as a config'):
            load_config(str(path))


@pytest.mark.parametrize(
    ('key', 'message'),
    [
        ('model.stages.self_traning', "model.stages has no 'self_traning'.*did you mean"),
        ('model.losses.co_peek', "model.losses has no 'co_peek'.*did you mean 'co_peak'"),
    ],
)
def test_parts_that_are_not_there_cannot_be_removed(key, message):
    parts = dict(stages=dict(self_training=dict(type='A')), losses=dict(co_peak=dict(type='B')))
    cfg = Config(dict(model=dict(parts, test_cfg=dict(flip=True)), default_hooks=dict(a=dict())))
    with pytest.raises(MMCosegError, match=message):
        run_config.merge_options(cfg, {key: None})
    run_config.merge_options(
        cfg, {'model.stages.self_training': None, 'default_hooks.logger': None}
    )
    run_config.merge_options(cfg, {'model.test_cfg.threshold': None, 'model.neck': None})
    assert cfg.model.stages.self_training is None
