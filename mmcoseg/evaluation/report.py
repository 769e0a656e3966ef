"""Scores of many images, their means and the table that shows them."""

from collections.abc import Iterator, Sequence
from io import StringIO
from typing import NamedTuple

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from ..errors import MMCosegError

__all__ = ['TABLE_FORMATS', 'GroupScore', 'ScoreReport', 'render_table']

#: Forms in which :meth:`ScoreReport.table` prints: for the console, or to paste into a page.
TABLE_FORMATS = ('text', 'markdown')


class GroupScore(NamedTuple):
    """Mean scores of the images of one group, in per cent."""

    num_images: int
    precision: float
    jaccard: float


class ScoreReport:
    """P and J of every image, by group; all figures it gives are in per cent.

    Each image counts once, however often it is added: distributed samplers repeat items to give
    every process equally many. All means run over sorted names, so that the order in which
    processes and batches deliver does not change a bit of the result.

    Example:
        >>> report = ScoreReport()
        >>> report.add('cat', '001', (0.9, 0.5))
        >>> report.add('cat', '002', (0.7, 0.5))
        >>> report.add('dog', '001', (1.0, 1.0))
        >>> {key: round(value, 1) for key, value in report.summary().items()}
        {'P': 90.0, 'J': 75.0, 'P_image': 86.7, 'J_image': 66.7}
    """

    def __init__(self) -> None:
        self._groups: dict[str, dict[str, tuple[float, float]]] = {}
        self._sources: dict[str, str | None] = {}

    def add(
        self, group: str, stem: str, score: tuple[float, float], source: str | None = None
    ) -> None:
        """Add one image.

        Args:
            group: name of the group.
            stem: name of the image within the group.
            score: its P and J, in [0, 1], as ``image_scores`` gives them.
            source: its file, by which two images of the same name are told from one that comes
                twice.

        Raises:
            MMCosegError: if another file was added under the same group and stem.
        """
        identity = f'{group}/{stem}'
        if identity in self._sources:
            if self._sources[identity] != source:
                raise MMCosegError(
                    f'two images are called {identity!r}: {self._sources[identity]} and {source}. '
                    'Rename one group or one file: scores are kept by group/stem.'
                )
            return
        self._sources[identity] = source
        self._groups.setdefault(group, {})[stem] = score

    def __len__(self) -> int:
        """Number of images."""
        return len(self._sources)

    def images(self) -> Iterator[tuple[str, tuple[float, float]]]:
        """Every image's identity ``group/stem`` and its score in [0, 1], sorted."""
        for group in sorted(self._groups):
            for stem in sorted(self._groups[group]):
                yield f'{group}/{stem}', self._groups[group][stem]

    def group_scores(self) -> dict[str, GroupScore]:
        """Image means of every group, by name."""
        return {group: self._mean_of(group) for group in sorted(self._groups)}

    def _mean_of(self, group: str) -> GroupScore:
        scores = self._groups[group]
        precision, jaccard = np.mean([scores[stem] for stem in sorted(scores)], axis=0)
        return GroupScore(len(scores), 100 * float(precision), 100 * float(jaccard))

    def summary(self) -> dict[str, float]:
        """``P`` and ``J``: mean over groups of their image means; ``P_image``, ``J_image``:
        mean over all images. NaN without images."""
        if not len(self):
            return dict.fromkeys(('P', 'J', 'P_image', 'J_image'), float('nan'))
        by_group = [score[1:] for score in self.group_scores().values()]
        precision, jaccard = np.mean(by_group, axis=0)
        precision_image, jaccard_image = np.mean([score for _, score in self.images()], axis=0)
        return dict(
            P=float(precision),
            J=float(jaccard),
            P_image=100 * float(precision_image),
            J_image=100 * float(jaccard_image),
        )

    def table(self, title: str | None = None, format: str = 'text') -> str:
        """One row a class, then the class mean and the image mean.

        Args:
            title: printed above the table.
            format: one of :data:`TABLE_FORMATS`.

        Raises:
            MMCosegError: if ``format`` is not one of these.
        """
        rows = [
            (name, str(score.num_images), f'{score.precision:.2f}', f'{score.jaccard:.2f}')
            for name, score in self.group_scores().items()
        ]
        summary = self.summary()
        means = [
            (name, str(len(self)), *(f'{summary[key]:.2f}' for key in keys))
            for name, keys in (('class mean', ('P', 'J')), ('image mean', ('P_image', 'J_image')))
        ]
        return render_table(('class', 'images', 'P', 'J'), rows, means, title, format)

    def to_dict(self) -> dict:
        """Everything as plain types, for json: ``summary``, and by group its means and its
        ``images`` by identity ``group/stem``."""
        groups = {}
        for group, score in self.group_scores().items():
            scores = self._groups[group]
            groups[group] = dict(
                num_images=score.num_images,
                P=score.precision,
                J=score.jaccard,
                images={
                    f'{group}/{stem}': dict(P=100 * scores[stem][0], J=100 * scores[stem][1])
                    for stem in sorted(scores)
                },
            )
        return dict(summary=self.summary(), num_images=len(self), groups=groups)


def render_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    means: Sequence[Sequence[str]],
    title: str | None = None,
    format: str = 'text',
) -> str:
    """A table of scores; the first column is names, the others figures.

    Args:
        columns: their names.
        rows: one a class.
        means: rows below a line.
        title: printed above the table.
        format: one of :data:`TABLE_FORMATS`.

    Raises:
        MMCosegError: if ``format`` is not one of these.
    """
    if format not in TABLE_FORMATS:
        raise MMCosegError(f'format must be one of {TABLE_FORMATS}, got {format!r}')
    style = box.MARKDOWN if format == 'markdown' else box.SQUARE
    table = Table(title=title if format == 'text' else None, box=style)
    for name in columns:
        table.add_column(name, justify='left' if name == columns[0] else 'right', no_wrap=True)
    for row in rows:
        table.add_row(*row)
    if format == 'text':  # Markdown knows no line between rows
        table.add_section()
    for row in means:
        table.add_row(*row)
    console = Console(file=StringIO(), width=160, markup=False)
    console.print(table)
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    text = '\n'.join(lines).strip('\n')
    return f'{title}\n\n{text}' if title and format == 'markdown' else text
