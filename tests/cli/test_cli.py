"""The command line's help, answers, and errors."""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest
from demo_inputs import write_tiny_dataset

from mmcoseg import __version__, cli
from mmcoseg.cli import main
from mmcoseg.config_files import find_config, list_configs
from mmcoseg.datasets import CoSegDataset, SampleGroup
from mmcoseg.engine.run_config import load_config
from mmcoseg.registry import DATASETS, MODELS, TRANSFORMS

COMMANDS = (
    *('segment', 'apply', 'objects', 'train', 'test', 'check-config', 'list', 'check-data'),
    'evaluate',
)


@pytest.mark.parametrize('args', [[], *[[command] for command in COMMANDS]])
def test_help(args, capsys):
    with pytest.raises(SystemExit) as end:
        main([*args, '--help'])
    assert end.value.code == 0
    text = capsys.readouterr().out
    if not args:
        assert all(command in text for command in COMMANDS)
    else:
        assert text.startswith(f'usage: mmcoseg {args[0]}')


@pytest.mark.parametrize(
    'args', [[], ['fly'], ['train'], ['train', 'x', '--launcher', 'rocket'], ['segment', 'x']]
)
def test_wrong_usage_is_2(args, capsys):
    with pytest.raises(SystemExit) as end:
        main(args)
    assert end.value.code == 2
    assert 'usage:' in capsys.readouterr().err


def test_cfg_options_must_be_pairs(capsys):
    with pytest.raises(SystemExit) as end:
        main(['train', 'x', '--cfg-options', 'lr'])
    assert end.value.code == 2
    assert 'KEY=VALUE pairs, got lr' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ("sampler=dict(type='EpisodeSampler')", 'sampler: a value cannot be a dict'),
        ("sampler=dict(type='EpisodeSampler', seed=1)", 'sampler: a value cannot be a dict'),
        (
            'model.losses.area="dict(type=\'MapAreaLoss\')"',
            'model.losses.area: a value cannot be a',
        ),
        ("model.postprocessors=[dict(type='DenseCRF')]", 'model.postprocessors: a value'),
        ("sampler={'type': 'EpisodeSampler'}", 'sampler: a value cannot be a dict'),
        ('image_size=[224,224', 'image_size: the brackets of [224,224 do not fit'),
        ('image_size=(224,224]', 'image_size: the brackets of (224,224] do not fit'),
        ('image_size=224,(224,2', 'image_size: the brackets of 224,(224,2 do not fit'),
        ('image_size=f(224,224)', 'image_size: the brackets of f(224,224) do not fit'),
        ('=3', 'takes KEY=VALUE pairs, got =3'),
    ],
)
def test_values_that_cannot_be_read_are_named(option, message, capsys):
    with pytest.raises(SystemExit) as end:
        main(['train', 'x', '--cfg-options', 'lr=1', option])
    assert end.value.code == 2
    assert f'error: --cfg-options {message}' in capsys.readouterr().err


def test_values_with_brackets_of_their_own_are_taken(monkeypatch):
    given = ['train', 'x', '--cfg-options', 'a=[(1,2),3]', 'b=ckpt_{}.pth', 'c=None', 'a.b=x']
    seen = []
    monkeypatch.setitem(
        cli._COMMANDS,
        'train',
        cli._Command(cli._add_train, lambda args: seen.append(args.cfg_options), ''),
    )
    main(given)
    assert seen == [{'a': [(1, 2), 3], 'b': 'ckpt_{}.pth', 'c': None, 'a.b': 'x'}]


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('tset_dataloader.num_workers=0', "(did you mean 'test_dataloader'?)"),
        ('trian_cfg.max_iters=1', 'has no trian_cfg to set trian_cfg.max_iters in'),
        ('model.backbone.arch.depth=1', 'model.backbone.arch.depth cannot be set to 1'),
        ('test_dataloader.dataset.pipeline.7.type=x', 'pipeline.7.type cannot be set'),
        ('test_dataloader.dataset.pipeline.first=x', 'pipeline.first cannot be set'),
        ('custom_imports.imports=[no_such_module]', "--cfg-options: No module named 'no_such_modu"),
        ('custom_imports.import=[json]', "'import'; it must be dict(imports=[<modules>])"),
        ('custom_imports=json', 'not str; it must be dict(imports=[<modules>])'),
    ],
)
def test_keys_that_cannot_be_set_are_named(option, message, capsys):
    assert main(['test', 'ddt_efficientnet-lite2', '--cfg-options', option]) == 1
    error = capsys.readouterr().err
    assert message in error and 'Traceback' not in error
    assert len(error.splitlines()) == 2  # the second line is how to see more


def test_custom_imports_of_a_config_that_are_wrong_are_named(tmp_path, capsys):
    for text, message in (
        ("dict(imports=['no_such_module'])", "No module named 'no_such_module'"),
        ("['json']", 'must be dict(imports=[<modules>])'),
        ('dict(imports=3)', 'custom_imports must be a list'),
    ):
        path = tmp_path / 'wrong.py'
        path.write_text(f'custom_imports = {text}\n')
        assert main(['test', str(path)]) == 1
        error = capsys.readouterr().err
        assert f'custom_imports of {path}' in error and message in error


def test_keys_below_none_can_be_set():
    cfg = load_config(
        'ddt_efficientnet-lite2',
        {'visualizer.vis_backends': None, 'visualizer.vis_backends.type': 'LocalVisBackend'},
    )
    assert cfg.visualizer.vis_backends == dict(type='LocalVisBackend')


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(['--version'])
    assert end.value.code == 0
    assert capsys.readouterr().out == f'mmcoseg {__version__}\n'


def test_errors_are_one_message_and_debug_shows_the_traceback(capsys):
    assert main(['train', 'no_such_config']) == 1
    error = capsys.readouterr().err
    assert "there is no config 'no_such_config'" in error
    assert 'Traceback' not in error
    with pytest.raises(FileNotFoundError):
        main(['train', 'no_such_config', '--debug'])


def fails_with(error: Callable[[], object], monkeypatch) -> int:
    """Run a command that fails so."""
    monkeypatch.setitem(
        cli._COMMANDS, 'list', cli._Command(lambda parser: None, lambda args: error(), 'Fails.')
    )
    return main(['list'])


BUILDS = {
    'an unknown type': lambda: MODELS.build(dict(type='NoSuchModel')),
    'no type': lambda: MODELS.build(dict(levels=3)),
    'no config': lambda: TRANSFORMS.build(3),
    'an unknown argument': lambda: TRANSFORMS.build(dict(type='SampleGroup', num_image=3)),
    'an unknown argument further in': lambda: TRANSFORMS.build(
        dict(type='ForEachImage', transforms=[dict(type='LoadCoSegMask', value='auto')])
    ),
    'an argument that a base class lacks': lambda: DATASETS.build(
        dict(type='CoSegDataset', data_root='data', test_model=True)
    ),
    'a refused argument': lambda: CoSegDataset('data', groups='cat'),
    'a refused value': lambda: SampleGroup(0),
}


@pytest.mark.parametrize('case', BUILDS)
def test_errors_in_what_the_user_gave_are_short(case, monkeypatch, capsys):
    assert fails_with(BUILDS[case], monkeypatch) == 1
    error = capsys.readouterr().err
    assert error.startswith('mmcoseg: error: ')
    assert 'Traceback' not in error


BUGS = {
    'a key': (KeyError, lambda: {}['missing']),
    'types that do not fit': (TypeError, lambda: None + 1),
    'a call of a function': (TypeError, lambda: load_config()),
    'in a constructor': (TypeError, lambda: TRANSFORMS.build(dict(type=Broken))),
    'raised on purpose, but by others': (TypeError, lambda: json.dumps(object())),
    'no attribute': (AttributeError, lambda: None.x),
}


class Broken:
    def __init__(self) -> None:
        len(None)


@pytest.mark.parametrize('case', BUGS)
def test_errors_in_programs_keep_their_traceback(case, monkeypatch):
    error, bug = BUGS[case]
    with pytest.raises(error):
        fails_with(bug, monkeypatch)


def test_a_typo_in_a_name_gets_a_suggestion():
    name = list_configs()[0]
    with pytest.raises(FileNotFoundError, match=f'did you mean .*{name}'):
        find_config(name[:-1] + 'x')


def test_configs_are_found_by_path_and_by_name(tmp_path):
    name = list_configs()[0]
    path = find_config(name)
    bare = name.rsplit('/', 1)[-1]
    for spelling in (str(path), f'{name}.py', f'configs/{name}.py', bare, f'{bare}.py'):
        assert find_config(spelling) == path
    own = tmp_path / 'own.py'
    own.write_text('')
    assert find_config(str(own)) == own.resolve()


def test_list(capsys):
    assert main(['list']) == 0
    text = capsys.readouterr().out
    assert list_configs()[0] in text
    assert 'CoSegDataset' in text
    assert 'HRNet' not in text  # mmseg's


def test_check_config_tells_what_is_wrong(tmp_path, capsys):
    config = tmp_path / 'bad.py'
    config.write_text(
        "default_scope = 'mmcoseg'\n"
        "model = dict(type='SSNN')\n"
        "val_evaluator = dict(type='CoSegMetric')\n"
        "train_dataloader = dict(dataset=dict(type='CoSegDataset', "
        "pipeline=[dict(type='ForEachImage', transforms=[dict(type='Resise')])]))\n"
    )
    assert main(['check-config', str(config)]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if ' ' in line]
    assert [line.split()[0] for line in lines if line.split()[0] in ('ok', 'error')] == [
        'error',
        'error',
        'ok',
    ]
    assert any('SSNN' in line for line in lines)
    assert any('Resise' in line for line in lines)


def test_check_data_and_evaluate(tmp_path, capsys):
    root = write_tiny_dataset(tmp_path / 'data')
    masks = str(root / 'masks')
    assert main(['check-data', str(root)]) == 0
    assert main(['evaluate', masks, masks]) == 0
    assert main(['evaluate', masks, masks, '--values', '0-255']) == 0
    assert '100' in capsys.readouterr().out
    next((root / 'masks' / 'car').glob('*.png')).unlink()
    assert main(['check-data', str(root)]) == 1
    assert main(['evaluate', masks, str(tmp_path / 'nowhere')]) == 1


@pytest.mark.slow
@pytest.mark.parametrize('tool', ['train', 'test'])
def test_tools_work_uninstalled_from_any_folder(tool, tmp_path, repo, repo_env):
    env = {key: value for key, value in repo_env.items() if key != 'PYTHONPATH'}
    done = subprocess.run(
        [sys.executable, str(repo / 'tools' / f'{tool}.py'), '--help'],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert f'usage: {tool}.py' in done.stdout


@pytest.mark.parametrize(
    'script', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh']
)
def test_scripts_say_how_they_are_used(script, repo):
    done = subprocess.run([str(repo / 'tools' / script)], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[1].startswith(f'  tools/{script} ')


@pytest.mark.slow
def test_output_that_the_terminal_cannot_show_is_escaped(repo_env, tmp_path):
    write_tiny_dataset(tmp_path, groups={'für': 2}, size=(20, 30))
    command = [sys.executable, '-m', 'mmcoseg.cli', 'check-data', str(tmp_path)]
    environment = {**repo_env, 'PYTHONIOENCODING': 'ascii'}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert r'f\xfcr' in done.stdout
