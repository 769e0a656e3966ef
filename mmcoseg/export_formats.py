"""What results can be written as; without the writers, so that a command can look at it at once."""

from collections.abc import Sequence

from .errors import MMCosegError

__all__ = ['FORMATS', 'chosen_formats']

#: What a ``ResultWriter`` can write.
FORMATS = ('masks', 'overlays', 'cutouts', 'coco', 'labelme', 'yolo')


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
