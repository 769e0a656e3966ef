"""The command line: ``mmcoseg train``, ``test``, ``check-config``, ``list``, ``check-data``, ...

Exit codes: 0 done; 1 something is wrong with the config, the data or the machine, or a check
found an error; 2 wrong usage. torch is imported only once a command runs, so that help is quick.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from .version import __version__

__all__ = ['main']


def main(
    argv: Sequence[str] | None = None, command: str | None = None, prog: str | None = None
) -> int:
    """Run a command.

    Args:
        argv: arguments without the program's name; those of the process by default.
        command: the command to run where it is not the first argument, as in ``tools/train.py``.
        prog: name of the program in help and messages.

    Returns:
        The exit code.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if command is None:
        prog = prog or 'mmcoseg'
        args = _parser(prog).parse_args(argv)
    else:
        prog = prog or f'mmcoseg {command}'
        add_arguments, run, summary = _COMMANDS[command]
        parser = argparse.ArgumentParser(prog, description=summary)
        add_arguments(parser)
        _add_debug(parser)
        args = parser.parse_args(argv)
        args.run = run
    try:
        return args.run(args)
    except KeyboardInterrupt:
        print(f'{prog}: interrupted', file=sys.stderr)
        return 130
    except Exception as error:
        if args.debug or not _is_users(error):
            raise
        # A KeyError's text is the repr of its argument.
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        print(f'{prog}: error: {text}\n(--debug shows where it arose)', file=sys.stderr)
        return 1


def _is_users(error: Exception) -> bool:
    """Whether the message alone tells the user what to do."""
    kinds: tuple[type[Exception], ...] = (ValueError, TypeError, KeyError, OSError, ImportError)
    return isinstance(error, kinds) or type(error).__name__ == 'ConfigParsingError'


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog, description='Object co-segmentation: train, test and check.'
    )
    parser.add_argument('--version', action='version', version=f'mmcoseg {__version__}')
    commands = parser.add_subparsers(title='commands', metavar='COMMAND', required=True)
    for name, (add_arguments, run, summary) in _COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=summary)
        add_arguments(sub)
        _add_debug(sub)
        sub.set_defaults(run=run)
    return parser


def _add_debug(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--debug', action='store_true', help='show the whole traceback of an error')


class _KeyValues(argparse.Action):
    """mmengine's ``DictAction``, imported only when it is used."""

    def __call__(self, parser, namespace, values, option_string=None):
        from mmengine.config import DictAction

        before = dict(getattr(namespace, self.dest) or {})
        try:
            DictAction(self.option_strings, self.dest, nargs='+')(
                parser, namespace, values, option_string
            )
        except ValueError:
            parser.error(f'{option_string} takes KEY=VALUE pairs, got {" ".join(values)}')
        setattr(namespace, self.dest, {**before, **getattr(namespace, self.dest)})


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'config', help='a config file, or the name of one of ours (`mmcoseg list configs`)'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=_KeyValues,
        metavar='KEY=VALUE',
        help='override single keys of the config, such as optim_wrapper.optimizer.lr=1e-3',
    )
    parser.add_argument('--data-root', metavar='DIR', help="folder of the config's data sets")


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--work-dir', metavar='DIR', help='for logs and checkpoints (work_dirs/<config>)'
    )
    parser.add_argument(
        '--test-groups', nargs='+', metavar='GROUP', help='groups to validate and test on'
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how the processes of a distributed run were started',
    )
    parser.add_argument('--local-rank', '--local_rank', type=int, help=argparse.SUPPRESS)
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='also load checkpoints that hold more than data; such a file can run any program on '
        'this machine, so use it only on files whose origin you trust',
    )


def _run_options(args: argparse.Namespace) -> dict[str, Any]:
    return dict(
        work_dir=args.work_dir,
        launcher=args.launcher,
        local_rank=args.local_rank,
        trust_checkpoint=args.trust_checkpoint,
    )


def _add_train(parser: argparse.ArgumentParser) -> None:
    _add_config(parser)
    parser.add_argument('--train-groups', nargs='+', metavar='GROUP', help='groups to train on')
    _add_run(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from this checkpoint; without one, from the last in the work folder',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate with the global batch size',
    )


def _train(args: argparse.Namespace) -> int:
    from .engine.launch import load_config, run_training

    cfg = load_config(
        args.config,
        args.cfg_options,
        args.data_root,
        args.train_groups,
        args.test_groups,
        training=True,
    )
    run_training(
        cfg,
        resume=args.resume,
        amp=args.amp,
        auto_scale_lr=args.auto_scale_lr,
        **_run_options(args),
    )
    return 0


def _add_test(parser: argparse.ArgumentParser) -> None:
    _add_config(parser)
    parser.add_argument('checkpoint', help='trained weights')
    _add_run(parser)
    parser.add_argument(
        '--out', metavar='DIR', help='write the predicted masks as DIR/<group>/<stem>.png'
    )
    parser.add_argument('--show-dir', metavar='DIR', help='write a contact sheet of every group')


def _test(args: argparse.Namespace) -> int:
    from .engine.launch import load_config, run_test

    cfg = load_config(args.config, args.cfg_options, args.data_root, test_groups=args.test_groups)
    run_test(cfg, args.checkpoint, out=args.out, show_dir=args.show_dir, **_run_options(args))
    return 0


def _add_check_config(parser: argparse.ArgumentParser) -> None:
    _add_config(parser)
    parser.add_argument(
        '--data', action='store_true', help='also open the data sets and run their pipelines once'
    )


def _check_config(args: argparse.Namespace) -> int:
    from .engine.inspection import check_config
    from .engine.launch import load_config

    cfg = load_config(args.config, args.cfg_options, args.data_root)
    problems = 0
    for part, problem in check_config(cfg, data=args.data):
        print(f'{"error" if problem else "ok":5}  {part}{f": {problem}" if problem else ""}')
        problems += problem is not None
    return 1 if problems else 0


def _add_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'what', nargs='?', choices=['configs', 'components'], help='both where not given'
    )


def _list(args: argparse.Namespace) -> int:
    if args.what != 'components':
        from .config_files import list_configs

        print('configs')
        print(''.join(f'  {name}\n' for name in list_configs()), end='')
    if args.what != 'configs':
        from .engine.inspection import components

        for registry, names in components().items():
            print(registry)
            print(''.join(f'  {name}\n' for name in names), end='')
    return 0


def _add_check_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('root', help='folder with images/<group>/* and masks/<group>/*.png')


def _check_data(args: argparse.Namespace) -> int:
    from .datasets.checks import check_data, format_report

    report = check_data(args.root)
    print(format_report(report))
    return 1 if report.errors else 0


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('predictions', help='folder of predicted masks, <group>/<stem>.png')
    parser.add_argument('ground_truth', help='folder of true masks of the same layout')


def _evaluate(args: argparse.Namespace) -> int:
    from .evaluation.folders import evaluate_folders

    evaluate_folders(args.predictions, args.ground_truth)
    return 0


_Command = tuple[
    Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int], str
]
_COMMANDS: dict[str, _Command] = {
    'train': (_add_train, _train, 'Train a model.'),
    'test': (_add_test, _test, 'Test a trained model: tables, masks, pictures.'),
    'check-config': (_add_check_config, _check_config, 'Build everything a config names.'),
    'list': (_add_list, _list, 'List our configs and registered components.'),
    'check-data': (_add_check_data, _check_data, 'Report what a data set holds, and its faults.'),
    'evaluate': (_add_evaluate, _evaluate, 'Score a folder of masks against another.'),
}


if __name__ == '__main__':
    sys.exit(main())
