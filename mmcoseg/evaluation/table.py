"""The table that evaluation ends with."""

from io import StringIO

import numpy as np
from rich.console import Console
from rich.table import Table

__all__ = ['score_table']


def score_table(scores: dict[str, np.ndarray], title: str) -> tuple[str, dict[str, float]]:
    """One row a group, and below them the two means.

    Args:
        scores: for each group P and J of its images, (N, 2) in [0, 1].
        title: of the table.

    Returns:
        The table as text, and ``P``, ``J`` (class mean), ``P_image``, ``J_image`` (image mean) in
        per cent, rounded to two decimals.
    """
    table = Table(title=title)
    table.add_column('class')
    for name in ('images', 'P', 'J'):
        table.add_column(name, justify='right')

    def row(name: str, count: int, values: np.ndarray) -> None:
        table.add_row(name, str(count), *(f'{100 * value:.2f}' for value in values))

    for group, values in scores.items():
        row(group, len(values), values.mean(axis=0))
    every_image = np.concatenate(list(scores.values()))
    class_mean = np.mean([values.mean(axis=0) for values in scores.values()], axis=0)
    image_mean = every_image.mean(axis=0)
    table.add_section()
    row('class mean', len(every_image), class_mean)
    row('image mean', len(every_image), image_mean)

    console = Console(file=StringIO(), width=100)
    console.print(table)
    means = np.round(100 * np.concatenate([class_mean, image_mean]), 2).tolist()
    return console.file.getvalue(), dict(zip(('P', 'J', 'P_image', 'J_image'), means))
