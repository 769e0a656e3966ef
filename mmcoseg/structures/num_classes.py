"""How many classes a group has: a number for all, what the data set says, or an estimate."""

from typing import Literal, get_args

from ..errors import MMCosegError
from .group_data_sample import GroupDataSample

__all__ = ['NumClasses', 'NumberSource', 'check_num_classes', 'num_classes_of']

#: Where the number of classes of a group comes from, if it is not the same for all.
NumberSource = Literal['data', 'auto']
NumClasses = int | NumberSource


def check_num_classes(num_classes: NumClasses, what: str = 'num_classes') -> None:
    """Refuse what does not say how many classes groups have.

    Args:
        num_classes: a positive number, ``'data'`` or ``'auto'``.
        what: its name in messages.

    Raises:
        MMCosegError: if it is anything else.
    """
    if num_classes in get_args(NumberSource):
        return
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 1:
        raise MMCosegError(
            f"{what} must be a positive whole number, 'data' (what the data set says of each "
            f"group) or 'auto' (estimated), got {num_classes!r}"
        )


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

    Raises:
        MMCosegError: naming the group, if the data set says no positive number, or one beyond the
            limit.

    Example:
        >>> num_classes_of(GroupDataSample([], metainfo=dict(group='a+b', num_classes=2)), 'data')
        2
    """
    name = group.get('group')
    number = num_classes
    if num_classes == 'data':
        number = group.get('num_classes')
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise MMCosegError(
                f"{what}='data', but the data set does not say how many classes the group {name!r} "
                f'has (its num_classes is {number!r}): use MultiClassCoSegDataset, in which names '
                f'of groups or classes.json name the classes, or set {what} to a number'
            )
    if max_classes is not None and number > max_classes:
        limit = what.replace('num_classes', 'max_classes')
        raise MMCosegError(
            f'the group {name!r} has {number} classes, but {limit} is {max_classes}: set '
            f'{limit}={number}'
        )
    return number
