"""The command line: ``mmcoseg segment``, ``train``, ``test``, ``check-config``, ``list``, ...

Exit codes: 0 done; 1 something is wrong with the config, the data or the machine, or a check
found an error; 2 wrong usage. torch is imported only once a command runs, so that help is quick.
"""

import argparse
import dis
import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import Any

from .config_files import METHODS, config_of_method, find_config
from .export_formats import FORMATS, chosen_formats
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
    # Tables and names of files may have characters that a terminal's encoding has not.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')
    argv = list(sys.argv[1:] if argv is None else argv)
    if command is None:
        prog = prog or 'mmcoseg'
        parser = _parser(prog)
        if argv and argv[0] not in _COMMANDS and Path(argv[0]).exists():
            given = shlex.join(argv)
            parser.error(f'{argv[0]} is no command; to segment it: {prog} segment {given}')
        args = parser.parse_args(argv)
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
    if isinstance(error, (TypeError, KeyError)):
        return _is_worded(error) or _is_wrong_argument(error)
    users = (ValueError, OSError, ImportError)
    return isinstance(error, users) or type(error).__name__ == 'ConfigParsingError'


def _is_worded(error: Exception) -> bool:
    """Whether we, or mmengine's registries, raised it on purpose, and not the interpreter."""
    *_, last = _steps(error)
    code = last.tb_frame.f_code.co_code
    return code[last.tb_lasti] == dis.opmap['RAISE_VARARGS'] and _module(last).partition('.')[
        0
    ] in ('mmcoseg', 'mmengine')


def _is_wrong_argument(error: Exception) -> bool:
    """Whether a config names an argument that a constructor lacks, or lacks one that it needs."""
    return (
        isinstance(error, TypeError)
        and re.search(r'__init__\(\) (got|missing|takes) ', str(error)) is not None
        and any(_module(step).startswith('mmengine.registry') for step in _steps(error))
    )


def _steps(error: Exception) -> Iterator[TracebackType]:
    """The steps of an error's traceback, down to where it arose."""
    step = error.__traceback__
    while step is not None:
        yield step
        step = step.tb_next


def _module(step: TracebackType) -> str:
    return step.tb_frame.f_globals.get('__name__', '')


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog, description='Object co-segmentation: segment, train, test and check.'
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

        options = dict(getattr(namespace, self.dest) or {})
        action = DictAction(self.option_strings, self.dest, nargs='+')
        for text in values:
            key, equals, value = text.partition('=')
            if not key or not equals:
                parser.error(f'{option_string} takes KEY=VALUE pairs, got {text}')
            if re.search(r'(^|[\[(,])[\'"\s]*(dict\(|\{[^}]*:)', value):
                parser.error(
                    f'{option_string} {key}: a value cannot be a dict; give its keys one by one, '
                    f'such as {key}.type=...'
                )
            try:
                action(parser, namespace, [text], option_string)
            except (AssertionError, RecursionError):  # for brackets that it cannot sort out
                parser.error(
                    f'{option_string} {key}: the brackets of {value} do not fit together; a list '
                    'is [A,B]'
                )
            options.update(getattr(namespace, self.dest))
        setattr(namespace, self.dest, options)


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
    parser.add_argument(
        '--data-root',
        metavar='DIR',
        help="folder of the data: in place of the config's data_root, or of the only folder that "
        'its data sets lie in; data sets elsewhere keep theirs',
    )


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
        help='go on from this checkpoint; without one, from the last in the work folder, or, with '
        'a method that is optimized on each group, after those that are finished there',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate with the global batch size',
    )


def _train(args: argparse.Namespace) -> int:
    from .engine.launch import run_training
    from .engine.run_config import load_config

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
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='trained weights; left out, or `none`, for a method that needs no training',
    )
    _add_run(parser)
    parser.add_argument(
        '--out', metavar='DIR', help='write the predicted masks as DIR/<group>/<stem>.png'
    )
    parser.add_argument('--show-dir', metavar='DIR', help='write a contact sheet of every group')
    parser.add_argument(
        '--resume',
        action='store_true',
        help='of a method that is optimized on each group: keep the groups that an earlier run '
        'finished in the work folder',
    )


def _test(args: argparse.Namespace) -> int:
    from .engine.launch import run_test
    from .engine.run_config import load_config

    cfg = load_config(args.config, args.cfg_options, args.data_root, test_groups=args.test_groups)
    run_test(
        cfg,
        args.checkpoint,
        out=args.out,
        show_dir=args.show_dir,
        resume=args.resume,
        **_run_options(args),
    )
    return 0


def _add_check_config(parser: argparse.ArgumentParser) -> None:
    _add_config(parser)
    parser.add_argument(
        '--data', action='store_true', help='also open the data sets and run their pipelines once'
    )


def _check_config(args: argparse.Namespace) -> int:
    from .engine.inspection import check_config
    from .engine.run_config import load_config

    cfg = load_config(args.config, args.cfg_options, args.data_root, check=False)
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
    parser.add_argument(
        'root', help='folder with images/<group>/*, and masks/<group>/*.png or instances.json'
    )


def _check_data(args: argparse.Namespace) -> int:
    from .datasets.checks import check_data, format_report

    report = check_data(args.root)
    print(format_report(report))
    return 1 if report.errors else 0


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'kind',
        nargs='?',
        choices=['masks', 'classes', 'instances'],
        help='what to score: masks, all objects as one; each class of the masks; or instances '
        '(default: decided by the files)',
    )
    parser.add_argument(
        'predictions',
        help='folder of predicted masks, <group>/<stem>.png, or one that has them in masks/, such '
        'as `mmcoseg segment` writes; for instances its annotations.json, or the folder of it',
    )
    parser.add_argument(
        'ground_truth',
        help='folder of true masks of the same layout; for instances a COCO json whose file_name '
        'is <group>/<file>, or a folder with such an instances.json and no masks/',
    )
    parser.add_argument('--groups', nargs='+', metavar='GROUP', help='score only these groups')
    parser.add_argument(
        '--json', metavar='FILE', help='also write all scores as json; - for stdout, and no table'
    )
    parser.add_argument(
        '--missing',
        choices=['error', 'empty'],
        default='error',
        help='images without a predicted mask are an error (the default), or count as empty masks',
    )
    parser.add_argument(
        '--values',
        choices=['auto', '0-255', 'label', 'threshold'],
        default='auto',
        help='what the values of mask files mean, on both sides: 255 is the object; classes, with '
        '255 void; or 128 and above is the object (default: told from the values of each file)',
    )
    parser.add_argument(
        '--matching',
        choices=['greedy', 'voc'],
        default='greedy',
        help='of instances: a prediction takes the best instance that is left (the default, as in '
        'COCO), or must be the first on the best of all (PASCAL VOC)',
    )
    parser.add_argument(
        '--classes',
        action=argparse.BooleanOptionalAction,
        help='the same as the kind classes: the predicted values 1, 2, ... are matched to the true '
        'ones over each group; or as masks (default: classes, if the masks of groups called A+B, '
        'or listed in classes.json, tell classes apart on both sides)',
    )
    parser.add_argument(
        '--over',
        choices=['images', 'pixels'],
        default='images',
        help='of classes: scores per image, then their mean over the group (the default), or over '
        'all pixels of the group',
    )
    parser.add_argument(
        '--absent',
        choices=['skip', 'score'],
        default='skip',
        help='of classes: images that do not show a class do not count for it (the default), or '
        'with a J of 1 where nothing was labeled so, and of 0 otherwise',
    )


def _evaluate(args: argparse.Namespace) -> int:
    from .evaluation import evaluate_classes, evaluate_instances, evaluate_masks
    from .evaluation.report import write_json

    files = args.predictions, args.ground_truth
    options = dict(groups=args.groups, missing=args.missing)
    kind = args.kind or _kind_of(args)
    if kind == 'instances':
        key = title = 'instances'
        report = evaluate_instances(*files, matching=args.matching, **options)
    elif kind == 'classes':
        key, title = 'classes', f'classes, matched over each group, by {args.over}'
        options.update(values=args.values, over=args.over, absent=args.absent)
        report = evaluate_classes(*files, **options)
    else:
        key, title = 'native', 'protocol native'
        report = evaluate_masks(*files, values=args.values, **options)
    content = {key: report.to_dict()}
    if args.json == '-':
        print(json.dumps(content, indent=1))
        return 0
    print(report.table(title))
    if args.json:
        write_json(args.json, content)
    return 0


def _kind_of(args: argparse.Namespace) -> str:
    """What to score, from the files: instances if they are listed; classes if masks hold some."""
    from .evaluation import hold_classes

    truth = Path(args.ground_truth)
    listed = (truth / 'instances.json').is_file() and not (truth / 'masks').is_dir()
    if listed or truth.suffix.lower() == '.json':
        return 'instances'
    classes = args.classes
    if classes is None and args.values in ('auto', 'label'):
        classes = hold_classes(args.predictions, truth, args.groups)
    return 'classes' if classes else 'masks'


def _add_segment(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'input',
        nargs='+',
        help='a folder of images (one group), a folder of such folders (a group each), or a text '
        'file with the path of an image a line; several images are a group, several folders a '
        'group each',
    )
    parser.add_argument('--out', required=True, metavar='DIR', help='folder of the results')
    model = parser.add_mutually_exclusive_group()
    model.add_argument(
        '--method', default='consensus', help=f'{", ".join(METHODS)} (default: consensus)'
    )
    model.add_argument('--config', help='a config file, or the name of one of ours, instead')
    parser.add_argument(
        '--classes',
        type=_classes,
        metavar='K',
        help='number of classes that recur in a group, for a method that tells classes apart, such '
        "as mccoseg; auto estimates it of each group (default: the config's, or auto)",
    )
    parser.add_argument('--weights', metavar='FILE', help="checkpoint for the config's model")
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=_KeyValues,
        metavar='KEY=VALUE',
        help='override single keys of the config',
    )
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ... (default: a GPU if there is one)')
    parser.add_argument(
        '--presence-threshold',
        type=_share,
        metavar='T',
        help='images whose presence score is below T, from 0 to 1, get an empty mask',
    )
    parser.add_argument(
        '--no-crf',
        action='store_true',
        help='leave out the dense CRF, and self-training, which works by it: faster, coarser',
    )
    parser.add_argument(
        '--format',
        nargs='+',
        default=['masks', 'overlays', 'coco'],
        metavar='FORMAT',
        help=f'{", ".join(FORMATS)} (default: masks overlays coco)',
    )
    parser.add_argument(
        '--min-area',
        type=_area,
        metavar='A',
        help='remove parts and holes of masks smaller than A, a share of the image below 1, a '
        'number of pixels from 1 on; 0 keeps all (default: those that are small beside the largest '
        'part)',
    )
    parser.add_argument(
        '--largest', action='store_true', help='keep only the largest part of each mask'
    )
    parser.add_argument(
        '--copy', action='store_true', help='copy images into yolo/images instead of linking them'
    )
    parser.add_argument('--cutouts', action='store_true', help='also cut the objects out (RGBA)')
    parser.add_argument(
        '--polygons', action='store_true', help='polygons instead of RLE in annotations.json'
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='compute anew what DIR has results of'
    )
    parser.add_argument(
        '--workers', type=_count, metavar='N', help='threads and processes (default: one a core)'
    )
    parser.add_argument('--seed', type=_count, default=0, help='of everything random (default: 0)')
    parser.add_argument(
        '--max-pixels',
        type=float,
        metavar='MILLIONS',
        help='skip images of more million pixels (default: 179)',
    )
    parser.add_argument(
        '--max-aspect',
        type=float,
        metavar='RATIO',
        help='skip images longer than so many times their shorter side (default: 60)',
    )
    parser.add_argument('--quiet', action='store_true', help='say only what went wrong')
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='also load weights that hold more than data; such a file can run any program on this '
        'machine, so use it only on files whose origin you trust',
    )


def _segment(args: argparse.Namespace) -> int:
    # What may be mistyped, before seconds are spent on importing torch.
    for path in args.input:
        if not os.path.lexists(Path(path).expanduser()):
            raise FileNotFoundError(f'there is no file or folder {path}')
    find_config(args.config or config_of_method(args.method))
    formats = [name for part in args.format for name in part.split(',') if name]
    formats = chosen_formats([*formats, *(['cutouts'] if args.cutouts else [])])

    from .apis.inputs import ImageLimits
    from .apis.progress import RunProgress
    from .apis.segment import segment_to_folder
    from .compat import keep_freed_memory

    keep_freed_memory()
    limits = {}
    if args.max_pixels is not None:
        limits['max_pixels'] = int(args.max_pixels * 1e6)
    if args.max_aspect is not None:
        limits['max_aspect'] = args.max_aspect
    progress = RunProgress(quiet=args.quiet)
    result = segment_to_folder(
        args.input[0] if len(args.input) == 1 else args.input,
        args.out,
        method=args.method,
        config=args.config,
        weights=args.weights,
        device=args.device,
        cfg_options=args.cfg_options,
        num_classes=args.classes,
        crf=not args.no_crf,
        min_area=args.min_area,
        largest=args.largest,
        presence_threshold=args.presence_threshold,
        seed=args.seed,
        num_workers=args.workers,
        formats=formats,
        polygons=args.polygons,
        copy_images=args.copy,
        overwrite=args.overwrite,
        limits=ImageLimits(**limits),
        trust_weights=args.trust_checkpoint,
        progress=progress,
    )
    if not args.quiet:
        print(result)
    if result.skipped:
        count = len(result.skipped)
        print(
            f'mmcoseg segment: {count} file{"s were" if count > 1 else " was"} skipped, see '
            f'{result.out_dir / "summary.json"}',
            file=sys.stderr,
        )
    return 1 if result.skipped else 0


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f'must be from 0 to 1, got {text}')
    return value


def _area(text: str) -> float:
    value = float(text)
    if not 0 <= value < float('inf'):
        raise argparse.ArgumentTypeError(f'must be a share of the image or pixels, got {text}')
    return value


def _classes(text: str) -> int | str:
    if text == 'auto':
        return text
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'must be a positive whole number, or auto, got {text!r}')
    return int(text)


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f'must not be negative, got {text}')
    return value


_Command = tuple[
    Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int], str
]
_COMMANDS: dict[str, _Command] = {
    'segment': (_add_segment, _segment, 'Find the common objects of groups of images.'),
    'train': (_add_train, _train, 'Train a model.'),
    'test': (_add_test, _test, 'Test a model: tables, masks, pictures.'),
    'check-config': (_add_check_config, _check_config, 'Build everything a config names.'),
    'list': (_add_list, _list, 'List our configs and registered components.'),
    'check-data': (_add_check_data, _check_data, 'Report what a data set holds, and its faults.'),
    'evaluate': (_add_evaluate, _evaluate, 'Score masks or instances against true ones.'),
}


if __name__ == '__main__':
    sys.exit(main())
