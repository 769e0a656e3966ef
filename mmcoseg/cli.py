"""The command line: ``mmcoseg segment``, ``apply``, ``train``, ``test``, ``list``, ...

Exit codes: 0 done; 1 something is wrong with the config, the data or the machine, or a check
found an error; 2 wrong usage. torch is imported only once a command runs, so that help is quick.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import Field, fields, replace
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NamedTuple

from .config_files import config_of_method, find_config, list_configs
from .errors import MMCosegError
from .optional import import_optional
from .options import in_range
from .segment_options import FORMATS, SegmentOptions, chosen_formats
from .version import __version__

__all__ = ['main']


#: How errors begin, or what they say, of a config that names a class or arguments wrongly.
_NOT_BUILT = re.compile(
    r'__init__\(\) (got|missing|takes) | is not in the .* registry|'
    r'cfg should be a |`cfg` .* must contain the key "type"'
)


def main(
    argv: Sequence[str] | None = None, command: str | None = None, prog: str | None = None
) -> int:
    """Run a command, and return the exit code.

    Args:
        argv: arguments without the program's name; those of the process by default.
        command: the command to run where it is not the first argument, as in ``tools/train.py``.
        prog: name of the program in help and messages.
    """
    # Tables and names of files may have characters that a terminal's encoding has not.
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')
    if command is None:
        prog = prog or 'mmcoseg'
        parser = _parser(prog)
    else:
        prog = prog or f'mmcoseg {command}'
        parser = argparse.ArgumentParser(prog, description=_COMMANDS[command].summary)
        _add_command(parser, command)
    return _run(parser.parse_args(argv), prog)


def _run(args: argparse.Namespace, prog: str) -> int:
    try:
        return args.run(args)
    except KeyboardInterrupt:
        print(f'{prog}: interrupted', file=sys.stderr)
        return 130
    except Exception as error:
        if args.debug or not _is_users(error):
            raise
        # A KeyError's text is the repr of its argument.
        text = error.args[0] if isinstance(error, KeyError) else error
        print(f'{prog}: error: {text}\n(--debug shows where it arose)', file=sys.stderr)
        return 1


def _is_users(error: Exception) -> bool:
    """Whether the message alone tells the user what to do."""
    of_users = isinstance(error, (MMCosegError, OSError, ImportError))
    return of_users or _NOT_BUILT.search(str(error)) is not None


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog, description='Object co-segmentation: segment, train, test and check.'
    )
    parser.add_argument('--version', action='version', version=f'mmcoseg {__version__}')
    commands = parser.add_subparsers(title='commands', metavar='COMMAND', required=True)
    for name, command in _COMMANDS.items():
        sub = commands.add_parser(name, help=command.summary, description=command.summary)
        _add_command(sub, name)
    return parser


def _add_command(parser: argparse.ArgumentParser, name: str) -> None:
    command = _COMMANDS[name]
    command.add_arguments(parser)
    parser.add_argument('--debug', action='store_true', help='show the whole traceback of an error')
    parser.set_defaults(run=command.run, command=name)


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
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='also load checkpoints that hold more than data; such a file can run any program on '
        'this machine, so use it only on files whose origin you trust',
    )


def _given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """These arguments, for a function that takes them by the same names."""
    return {name: getattr(args, name) for name in names}


#: What ``run_training`` and ``run_test`` both take.
_RUN_OPTIONS = 'work_dir', 'launcher', 'trust_checkpoint', 'resume'


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

    wishes = _given(args, 'cfg_options', 'data_root', 'train_groups', 'test_groups')
    cfg = load_config(args.config, **wishes, training=True)
    run_training(cfg, **_given(args, *_RUN_OPTIONS, 'amp', 'auto_scale_lr'))
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

    cfg = load_config(args.config, **_given(args, 'cfg_options', 'data_root', 'test_groups'))
    run_test(cfg, **_given(args, *_RUN_OPTIONS, 'checkpoint', 'out', 'show_dir'))
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
    return min(1, problems)


def _add_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'what', nargs='?', choices=['configs', 'components'], help='both where not given'
    )


def _list(args: argparse.Namespace) -> int:
    listed = {}
    if args.what != 'components':
        listed['configs'] = list_configs()
    if args.what != 'configs':
        from .engine.inspection import components

        listed |= components()
    for title, names in listed.items():
        print('\n  '.join([title, *names]))
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
        help='what to score: masks, all objects as one; each class of the masks, the predicted '
        'values 1, 2, ... matched to the true ones over each group; or instances (default: '
        'instances, if the truth lists some; classes, if the masks of groups called A+B, or listed '
        'in classes.json, tell classes apart on both sides; else masks)',
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
        '--min-instances',
        type=int,
        default=0,
        metavar='N',
        help='of instances: score only images with at least so many true ones, such as 2 to see '
        'how well objects that touch are told apart',
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
    from .files import write_json

    # The function, the name of its scores in json, the title of its table, and its own options.
    by_class = f'classes, matched over each group, by {args.over}'
    at_least = args.min_instances
    of_images = f'instances of images with {at_least} or more' if at_least else 'instances'
    evaluate, key, title, options = dict(
        instances=(evaluate_instances, 'instances', of_images, ['matching', 'min_instances']),
        classes=(evaluate_classes, 'classes', by_class, ['values', 'over', 'absent']),
        masks=(evaluate_masks, 'native', 'protocol native', ['values']),
    )[args.kind or _kind_of(args)]
    options = _given(args, 'groups', 'missing', *options)
    report = evaluate(args.predictions, args.ground_truth, **options)
    content = {key: report.to_dict()}
    if args.json == '-':
        print(json.dumps(content, indent=1))
    else:
        print(report.table(title))
        if args.json:
            write_json(args.json, content, indent=1)
    return 0


def _kind_of(args: argparse.Namespace) -> str:
    """What to score, from the files: instances if they are listed; classes if masks hold some."""
    from .evaluation import hold_classes

    truth = Path(args.ground_truth)
    listed = (truth / 'instances.json').is_file() and not (truth / 'masks').is_dir()
    if listed or truth.suffix.lower() == '.json':
        return 'instances'
    may_hold = args.values in ('auto', 'label')
    classes = may_hold and hold_classes(args.predictions, truth, args.groups)
    return 'classes' if classes else 'masks'


def _add_segment(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'input',
        nargs='+',
        help='a folder of images (one group), a folder of such folders (a group each), a video (a '
        'group for each scene), or a text file with the path of an image a line; several images '
        'are a group, several folders a group each',
    )
    _add_results(parser, _flagged())


def _add_results(parser: argparse.ArgumentParser, options: Sequence[Field]) -> None:
    """What every command takes that writes a folder of results."""
    parser.add_argument('--out', required=True, metavar='DIR', help='folder of the results')
    model = parser.add_mutually_exclusive_group()
    for option in options:
        flag, argument = option.metadata['flag'], option.metadata['argument']
        argument = dict(argument, dest=option.name, default=option.default)
        if flag == '--cfg-options':
            argument['action'] = _KeyValues
        place = model if flag in ('--method', '--config') else parser
        place.add_argument(flag, **argument)
    parser.add_argument('--cutouts', action='store_true', help='also cut the objects out (RGBA)')
    parser.add_argument(
        '--max-pixels',
        type=float,
        default=178.95697,
        metavar='MILLIONS',
        help='skip images of more million pixels (default: 179)',
    )
    parser.add_argument(
        '--max-aspect',
        type=float,
        default=60,
        metavar='RATIO',
        help='skip images longer than so many times their shorter side (default: 60)',
    )
    parser.add_argument('--quiet', action='store_true', help='say only what went wrong')


def _flagged() -> list[Field]:
    """The options that have a flag."""
    return [option for option in fields(SegmentOptions) if option.metadata['flag']]


def _segment(args: argparse.Namespace) -> int:
    return _write_results(args, args.input, _segment_options(args))


def _add_apply(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'paths',
        nargs='+',
        metavar='PATH',
        help='first the files of saved objects, which end with .coseg; then the images to find '
        'them in, as for `mmcoseg segment`',
    )
    _add_results(parser, _flagged_of_apply())


def _flagged_of_apply() -> list[Field]:
    """The options that mean something where each image is segmented by itself."""
    of_groups = ('hints', 'examples', 'save_object', 'num_classes')
    return [option for option in _flagged() if option.name not in of_groups]


def _apply(args: argparse.Namespace) -> int:
    objects = [path for path in args.paths if path.endswith('.coseg')]
    images = [path for path in args.paths if not path.endswith('.coseg')]
    if not objects or not images:
        raise MMCosegError(
            'give the files of saved objects, which end with .coseg, and then the images to find '
            'them in'
        )
    _require_there(objects)
    options = _segment_options(args)
    return _write_results(args, images, replace(options, objects=objects))


def _add_review(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('results', metavar='RESULTS', help='folder that `mmcoseg segment` wrote')
    parser.add_argument(
        '--import',
        dest='corrections',
        metavar='PATH',
        help='masks that come back from elsewhere, corrected or accepted: a folder of masks or '
        "of labelme's files, a COCO or Label Studio json, or a zip of CVAT (docs/formats.md)",
    )
    _add_server(parser)


def _add_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--port', type=int, default=0, help='port of the page (default: a free one)'
    )
    parser.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to listen at; by default nobody else can reach it',
    )
    parser.add_argument(
        '--no-browser', action='store_true', help='do not open the page in a browser'
    )


def _review(args: argparse.Namespace) -> int:
    _require_there([args.results])
    _require_server(args)
    from .compat import share_freed_memory
    from .review.launch import serve

    share_freed_memory()
    corrections = None
    if args.corrections is not None:
        from .export.corrections import read_corrections

        corrections = read_corrections(args.corrections)
    with serve(args.results, args.host, args.port) as server:
        if corrections is not None:
            number = server.work.take_corrections(corrections)
            print(f'{number} corrected images were taken from {args.corrections}', flush=True)
        _serve(server, args, 'sees the photos and can change the results')
    return 0


def _add_app(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'folder',
        nargs='?',
        metavar='FOLDER',
        help='folder of photos, as for `mmcoseg segment`; the page asks for it where none is given',
    )
    parser.add_argument(
        '--out', metavar='DIR', help='folder of the results (default: FOLDER-results)'
    )
    _add_server(parser)


def _app(args: argparse.Namespace) -> int:
    _require_there([] if args.folder is None else [args.folder])
    _require_server(args)
    from .compat import keep_freed_memory
    from .review.launch import serve_app

    keep_freed_memory()
    with serve_app(args.folder, args.out, args.host, args.port) as server:
        _serve(server, args, 'can segment any folder of this machine, and sees its photos')
    return 0


def _require_server(args: argparse.Namespace) -> None:
    """Refuse a wrong port, or a lack of packages."""
    in_range('--port', args.port, 0, 65535)
    what = f'mmcoseg {args.command}'
    for module in ('starlette', 'uvicorn'):
        import_optional(module, what, "Install it by `pip install 'mmcoseg[review]'`.")


def _serve(server: Any, args: argparse.Namespace, others_can: str) -> None:
    """Serve a page until the program is stopped; ``others_can`` says what its address allows."""
    from .review.launch import open_browser

    print(f'{args.command}: {server.address}', flush=True)
    print('Stop it with Ctrl-C; everything is on disk.', flush=True)
    if server.reachable_by_others:
        print(
            f'warning: others can reach {args.host}. Whoever has this address, with its token, '
            f'{others_can}.',
            flush=True,
        )
    if not args.no_browser:
        open_browser(server.address)
    server.run()


def _add_objects(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('action', choices=['show'], help='show: say what is in the files')
    parser.add_argument('files', nargs='+', metavar='FILE', help='files of saved objects')


def _objects(args: argparse.Namespace) -> int:
    from .files import display_name
    from .structures import read_object

    _require_there(args.files)
    for file in args.files:
        saved = read_object(file)
        print(f'{display_name(file)}\n{saved}')
    return 0


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('results', metavar='RESULTS', help='folder of results')
    parser.add_argument(
        '--format',
        dest='formats',
        required=True,
        nargs='+',
        metavar='FORMAT',
        help=f'{", ".join(FORMATS)} (docs/formats.md)',
    )
    parser.add_argument('--out', metavar='DIR', help='folder to write to (default: RESULTS)')


def _export(args: argparse.Namespace) -> int:
    chosen_formats(args.formats)
    _require_there([args.results])
    from .export import export_results
    from .files import display_name

    result = export_results(args.results, args.formats, args.out)
    images = '1 image' if result.num_images == 1 else f'{result.num_images} images'
    print(f'{images} written to {display_name(str(result.out_dir))}')
    for name, reason in result.skipped:
        print(display_name(f'mmcoseg export: {name}: {reason}'), file=sys.stderr)
    return min(1, len(result.skipped))


def _require_there(paths: Sequence[str]) -> None:
    for path in paths:
        if not os.path.lexists(os.path.expanduser(path)):
            raise FileNotFoundError(f'there is no file or folder {path}')


def _write_results(args: argparse.Namespace, images: list[str], options: SegmentOptions) -> int:
    """Segment images into a folder of results, and say what was done."""
    # What may be mistyped, before seconds are spent on importing torch.
    _require_there(images)
    find_config(args.config or config_of_method(args.method))
    in_range('--max-pixels', args.max_pixels, 0, 1e9)
    in_range('--max-aspect', args.max_aspect, 1)

    from .apis.inputs import ImageLimits
    from .apis.progress import RunProgress
    from .apis.segment import segment_to_folder
    from .compat import keep_freed_memory

    keep_freed_memory()
    result = segment_to_folder(
        images[0] if len(images) == 1 else images,
        args.out,
        options,
        limits=ImageLimits(round(args.max_pixels * 1e6), args.max_aspect),
        progress=RunProgress(quiet=args.quiet),
    )
    if not args.quiet:
        print(result)
    if not result.skipped:
        return 0
    files = '1 file was' if len(result.skipped) == 1 else f'{len(result.skipped)} files were'
    where = result.out_dir / 'summary.json'
    print(f'mmcoseg {args.command}: {files} skipped, see {where}', file=sys.stderr)
    return 1


def _segment_options(args: argparse.Namespace) -> SegmentOptions:
    chosen = {}
    for option in _flagged():
        if hasattr(args, option.name):  # not every command has all of them
            chosen[option.name] = getattr(args, option.name)
    if args.cutouts:
        chosen['formats'] = [*args.formats, 'cutouts']
    return SegmentOptions(**chosen)


class _Command(NamedTuple):
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    summary: str


_COMMANDS: dict[str, _Command] = {
    'segment': _Command(_add_segment, _segment, 'Find the common objects of groups of images.'),
    'apply': _Command(_add_apply, _apply, 'Find saved objects in other images.'),
    'review': _Command(_add_review, _review, 'Judge and mend results in the browser.'),
    'app': _Command(_add_app, _app, 'Choose photos in the browser, and review what is found.'),
    'export': _Command(_add_export, _export, 'Write results in other formats.'),
    'objects': _Command(_add_objects, _objects, 'Show what saved objects are.'),
    'train': _Command(_add_train, _train, 'Train a model.'),
    'test': _Command(_add_test, _test, 'Test a model: tables, masks, pictures.'),
    'check-config': _Command(_add_check_config, _check_config, 'Build everything a config names.'),
    'list': _Command(_add_list, _list, 'List our configs and registered components.'),
    'check-data': _Command(_add_check_data, _check_data, 'Report a data set and its faults.'),
    'evaluate': _Command(_add_evaluate, _evaluate, 'Score masks or instances against true ones.'),
}


if __name__ == '__main__':
    sys.exit(main())
