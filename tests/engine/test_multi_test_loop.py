import pytest
import torch
from demo_inputs import write_tiny_dataset
from mmengine.runner import Runner

from mmcoseg.engine import MultiTestLoop
from mmcoseg.errors import MMCosegError
from mmcoseg.models.segmentors import BaseCoSegmentor
from mmcoseg.registry import LOOPS, MODELS


@MODELS.register_module(name='EverythingIsObject')
class EverythingIsObject(BaseCoSegmentor):
    def loss(self, images, data_samples):
        return {}

    def _forward(self, images, data_samples):
        return images.batch()

    def soft_maps(self, images, group):
        return torch.ones(len(images), 1, *images.size)


def loader(root):
    load = [dict(type='LoadCoSegImage'), dict(type='LoadCoSegMask')]
    return dict(
        batch_size=1,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='group_collate'),
        dataset=dict(
            type='CoSegDataset',
            data_root=str(root),
            test_mode=True,
            pipeline=[dict(type='ForEachImage', transforms=load), dict(type='PackGroupInputs')],
        ),
    )


@pytest.fixture
def runner(tmp_path):
    def build(test_dataloader, evaluator=None, **test_cfg):
        return Runner(
            model=dict(type='EverythingIsObject'),
            work_dir=str(tmp_path / 'work'),
            test_dataloader=test_dataloader,
            test_evaluator=evaluator or dict(type='CoSegMetric'),
            test_cfg=dict(type='MultiTestLoop', **test_cfg),
            default_scope='mmcoseg',
            experiment_name=tmp_path.name,
            log_level='WARNING',
        )

    return build


def object_share(root):
    """What J must be where everything is called object: the masks' mean share of the image."""
    from mmcoseg.datasets.checks import check_data

    groups = check_data(root, progress=False).groups.values()
    return 100 * sum(facts.object_share for facts in groups) / len(groups)


def test_every_set_is_scored_by_itself(runner, tmp_path):
    assert LOOPS.get('MultiTestLoop') is MultiTestLoop
    write_tiny_dataset(tmp_path / 'one', groups=dict(a=2, b=3))
    write_tiny_dataset(tmp_path / 'two', groups=dict(a=2), size=(48, 90), seed=5)
    sets = dict(one=loader(tmp_path / 'one'), two=loader(tmp_path / 'two'), none=None)
    metrics = runner(sets).test()
    assert metrics['one/J'] == pytest.approx(object_share(tmp_path / 'one'), abs=0.01)
    assert metrics['two/J'] == pytest.approx(object_share(tmp_path / 'two'), abs=0.01)
    assert metrics['one/J'] != metrics['two/J']


def test_sets_can_have_their_own_evaluator(runner, tmp_path):
    write_tiny_dataset(tmp_path / 'one', groups=dict(a=2))
    sets = dict(one=loader(tmp_path / 'one'), two=loader(tmp_path / 'one'))
    own = dict(
        one=dict(type='CoSegMetric'),
        two=dict(type='CoSegMetric', protocol=['native', 'ssnm-224']),
    )
    assert {'one/J', 'two/native/J', 'two/ssnm-224/J'} <= set(runner(sets, own).test())


def test_missing_sets(runner, tmp_path):
    write_tiny_dataset(tmp_path / 'one', groups=dict(a=2))
    sets = dict(one=loader(tmp_path / 'one'), two=loader(tmp_path / 'nowhere'))
    assert not any(key.startswith('two') for key in runner(sets).test())
    with pytest.raises(FileNotFoundError, match='none of the test sets is there'):
        runner(dict(two=sets['two'])).test()


def test_wrong_form(runner):
    with pytest.raises(MMCosegError, match='MultiTestLoop needs test_dataloader=dict'):
        runner(dict(batch_size=1)).test()
