"""The options of ``mmcoseg segment``: one description for command line, Python and results.

Light on purpose: nothing here imports torch or mmengine.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, TypeVar

from .config_files import METHODS
from .errors import MMCosegError
from .options import in_range, known_keys, whole_number

__all__ = ['FORMATS', 'InferenceOptions', 'SegmentOptions', 'chosen_formats']

#: What a ``ResultWriter`` can write.
FORMATS = (
    'masks',
    'overlays',
    'cutouts',
    'coco',
    'labelme',
    'labelme-masks',
    'yolo',
    'label-studio',
    'cvat',
)

Options = TypeVar('Options', bound='InferenceOptions')


def _option(
    default: Any,
    flag: str | None = None,
    check: Callable[[str, Any], None] | None = None,
    setting: bool = False,
    **argument: Any,
) -> Any:
    """A field of a dataclass of options.

    Args:
        flag: on the command line; None if only Python has the option.
        check: called with name and value, raises ``MMCosegError``; not called for None.
        setting: whether results depend on it, so that a folder must not mix two values.
        argument: more arguments of ``ArgumentParser.add_argument``.
    """
    metadata = dict(flag=flag, check=check, setting=setting, argument=argument)
    return field(default=default, metadata=metadata)


def _check_number_of_classes(name: str, value: Any) -> None:
    if value != 'auto' and not (isinstance(value, int) and value >= 1):
        raise MMCosegError(f'{name} must be a positive whole number, or auto, got {value!r}')


def _class_number(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def chosen_formats(names: str | Sequence[str]) -> tuple[str, ...]:
    """The formats of these names, each once, in the order of :data:`FORMATS`.

    Names may be joined by commas.

    Raises:
        MMCosegError: for a format that is not known.

    Example:
        >>> chosen_formats(['coco,yolo', 'masks'])
        ('masks', 'coco', 'yolo')
    """
    names = ','.join([names] if isinstance(names, str) else names).split(',')
    names = [name for name in names if name]
    unknown = sorted(set(names) - set(FORMATS))
    if unknown:
        raise MMCosegError(f'there are no formats {unknown}; choose among {list(FORMATS)}')
    return tuple(name for name in FORMATS if name in names)


@dataclass(frozen=True)
class InferenceOptions:
    """What :class:`~mmcoseg.apis.CoSegInferencer` can be told.

    The ``help`` of each field says what it does. In Python moreover:

    - ``config``: a path, a name, or an mmengine ``Config``;
    - ``cfg_options``: a dict, dotted key of the config -> value;
    - ``crf=False`` leaves out all parts of the model that use the dense CRF;
    - ``num_classes=None`` takes what the config says, where ``'data'`` becomes ``'auto'``;
    - ``presence_threshold``: images below it also have ``absent=True`` in their metainfo;
    - ``objects``: files of saved objects, which are then found in each image by itself, with the
      backbone, the input and the post-processors of the config;
    - ``seed``: each group starts from it anew, so that its result does not depend on others;
    - ``num_workers``: results are the same for any number;
    - ``limits``: an :class:`~mmcoseg.apis.ImageLimits`; images beyond it are left out.

    Raises:
        MMCosegError: for a value out of range.
    """

    method: str = _option(
        'consensus', '--method', help=f'{", ".join(METHODS)} (default: consensus)'
    )
    config: Any = _option(
        None, '--config', help='a config file, or the name of one of ours, instead'
    )
    weights: Any = _option(
        None, '--weights', metavar='FILE', help="checkpoint for the config's model"
    )
    cfg_options: dict[str, Any] | None = _option(
        None,
        '--cfg-options',
        nargs='+',
        metavar='KEY=VALUE',
        help='override single keys of the config',
    )
    device: Any = _option(
        None, '--device', help='cpu, cuda, cuda:1, ... (default: a GPU if there is one)'
    )
    crf: bool = _option(
        True,
        '--no-crf',
        setting=True,
        action='store_false',
        help='leave out the dense CRF, and self-training, which works by it: faster, coarser',
    )
    num_classes: int | str | None = _option(
        None,
        '--classes',
        _check_number_of_classes,
        setting=True,
        type=_class_number,
        metavar='K',
        help='number of classes that recur in a group, for a method that tells classes apart, such '
        "as mccoseg; auto estimates it of each group (default: the config's, or auto)",
    )
    min_area: float | None = _option(
        None,
        '--min-area',
        partial(in_range, low=0, high=10**12),
        setting=True,
        type=float,
        metavar='A',
        help='remove parts and holes of masks smaller than A, a share of the image below 1, a '
        'number of pixels from 1 on; 0 keeps all (default: those that are small beside the largest '
        'part)',
    )
    largest: bool = _option(
        False,
        '--largest',
        setting=True,
        action='store_true',
        help='keep only the largest part of each mask',
    )
    presence_threshold: float | None = _option(
        None,
        '--presence-threshold',
        partial(in_range, low=0, high=1),
        setting=True,
        type=float,
        metavar='T',
        help='images whose presence score is below T, from 0 to 1, get an empty mask',
    )
    objects: Sequence[Any] = _option(())
    seed: int = _option(
        0,
        '--seed',
        partial(whole_number, least=0),
        setting=True,
        type=int,
        help='random seed (default: 0)',
    )
    num_workers: int | None = _option(
        None,
        '--workers',
        partial(whole_number, least=0),
        type=int,
        metavar='N',
        help='threads and processes (default: one a core)',
    )
    limits: Any = _option(None)
    trust_weights: bool = _option(
        False,
        '--trust-checkpoint',
        action='store_true',
        help='also load weights that hold more than data; such a file can run any program on this '
        'machine, so use it only on files whose origin you trust',
    )

    def __post_init__(self) -> None:
        for option in fields(self):
            check, value = option.metadata['check'], getattr(self, option.name)
            if check is not None and value is not None:
                check(f'{option.name} ({option.metadata["flag"]})', value)

    @classmethod
    def of(cls: type[Options], options: Options | None, others: Mapping[str, Any]) -> Options:
        """These options, with some replaced; an unknown one is an error."""
        known_keys(cls.__name__, others, [option.name for option in fields(cls)])
        return replace(options or cls(), **others)

    def settings(self) -> dict[str, Any]:
        """Option -> value for all options marked as settings."""
        return {o.name: getattr(self, o.name) for o in fields(self) if o.metadata['setting']}


@dataclass(frozen=True)
class SegmentOptions(InferenceOptions):
    """What :func:`~mmcoseg.apis.segment_to_folder` can be told, beside :class:`InferenceOptions`.

    ``hints`` and ``examples`` are as for :func:`~mmcoseg.apis.hints_from`.
    ``formats`` are some of ``mmcoseg.export.FORMATS``. ``channel_order`` of arrays is ``'bgr'`` or
    ``'rgb'``. ``overwrite`` also deletes earlier results of the groups in the input.
    """

    hints: Any = _option(
        None,
        '--hints',
        metavar='FILE',
        help='a json file of clicks, strokes, boxes and absences on some images, which count '
        'for their whole groups (docs/hints.md)',
    )
    examples: Any = _option(
        None,
        '--examples',
        metavar='MASKS',
        help='folder of masks of some of the images, <stem>.png or <group>/<stem>.png: examples of '
        'the objects to find',
    )
    save_object: Any = _option(
        None,
        '--save-object',
        metavar='PATH',
        help='also keep what tells the object of the group from everything else, for `mmcoseg '
        'apply`: a file that ends with .coseg, or a folder, which then gets one of each group',
    )
    sequence: bool = _option(
        False,
        '--sequence',
        setting=True,
        action='store_true',
        help='the images of each folder are frames of a sequence, in the order of their names; '
        'videos are sequences anyway',
    )
    every: int | None = _option(
        None,
        '--every',
        partial(whole_number, least=1),
        setting=True,
        type=int,
        metavar='N',
        help='of sequences, take every N-th frame (default: of videos by motion, up to eight a '
        'second; of folders all)',
    )
    formats: Sequence[str] = _option(
        ('masks', 'overlays', 'coco'),
        '--format',
        lambda name, value: chosen_formats(value),
        setting=True,
        nargs='+',
        metavar='FORMAT',
        help=f'{", ".join(FORMATS)} (default: masks overlays coco)',
    )
    polygons: bool = _option(
        False,
        '--polygons',
        setting=True,
        action='store_true',
        help='polygons instead of RLE in annotations.json',
    )
    copy_images: bool = _option(
        False,
        '--copy',
        setting=True,
        action='store_true',
        help='copy images into yolo/images instead of linking them',
    )
    overwrite: bool = _option(
        False, '--overwrite', action='store_true', help='recompute results that DIR already has'
    )
    channel_order: str = _option('bgr')

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), 'formats': list(chosen_formats(self.formats))}
