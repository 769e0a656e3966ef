"""How many classes a group has: a number for all, what the data set says, or an estimate."""

from typing import Literal, get_args

from ..errors import MMCosegError
from ..options import whole_number
from .group_data_sample import GroupDataSample

__all__ = [
    'NumClasses',
    'NumberSource',
    'check_num_classes',
    'hinted_classes',
    'num_classes_of',
    'num_named_classes',
]

#: Where the number of classes of a group comes from, if it is not the same for all.
NumberSource = Literal['data', 'auto']
NumClasses = int | NumberSource


def check_num_classes(num_classes: NumClasses, what: str = 'num_classes') -> None:
    """Refuse what is no positive number, ``'data'`` or ``'auto'``; ``what`` is for messages."""
    if num_classes not in get_args(NumberSource):
        whole_number(f"{what}, if not 'data' or 'auto',", num_classes)


def num_classes_of(
    group: GroupDataSample,
    num_classes: NumClasses,
    max_classes: int | None = None,
    what: str = 'num_classes',
) -> int:
    """K of a group, where it need not be estimated.

    Args:
        group: its metainfo ``num_classes`` counts for ``'data'``.
        num_classes: a number, which is K, or ``'data'``.
        max_classes: K may not be more; None for no limit.
        what: the option's name in messages.

    Example:
        >>> num_classes_of(GroupDataSample([], metainfo=dict(group='a+b', num_classes=2)), 'data')
        2
    """
    name, number = group.get('group'), num_classes
    if num_classes == 'data':
        number = group.get('num_classes')
        if type(number) is not int or number < 1:
            raise MMCosegError(
                f"{what}='data', but the data set does not say how many classes the group {name!r} "
                f'has (its num_classes is {number!r}): use MultiClassCoSegDataset, in which names '
                f'of groups or classes.json name the classes, or set {what} to a number'
            )
    if max_classes is not None and number > max_classes:
        limit = what.replace('num_classes', 'max_classes')
        cure = f'{limit} is {max_classes}: set {limit}={number}'
        raise MMCosegError(f'the group {name!r} has {number} classes, but {cure}')
    return number


def hinted_classes(group: GroupDataSample) -> set[int]:
    """Numbers of the classes that a group's hints show."""
    shown: set[int] = set()
    for sample in group:
        for hint in sample.get('hints', ()):
            shown |= hint.classes
    return shown


def num_named_classes(group: GroupDataSample) -> int:
    """K of a group with hints: of the classes that have names, or that hints show; at least 1."""
    named = max((len(sample.get('class_names', ())) for sample in group), default=0)
    return max(1, named, *hinted_classes(group))
