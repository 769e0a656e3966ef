"""How long a run took, in words: the same on the terminal and in the report."""

__all__ = ['show_each', 'show_time']


def show_time(seconds: float, each: float | None) -> str:
    """What a run took, and what each of its images did, where there were any.

    Example:
        >>> show_time(64.42, 4.026), show_time(0.31, None)
        ('64.4 s, 4.03 s an image', '0.3 s')
    """
    text = f'{seconds:.1f} s'
    return text if each is None else f'{text}, {show_each(each)}'


def show_each(seconds: float) -> str:
    """What an image takes.

    Example:
        >>> show_each(4.026)
        '4.03 s an image'
    """
    return f'{seconds:.2f} s an image'
