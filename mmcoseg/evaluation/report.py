"""Scores of images by group and name, their table and their json; and those of masks, P and J."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from typing import Any, NamedTuple

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from ..errors import MMCosegError

__all__ = ['Cells', 'GroupScore', 'MaskReport', 'Report', 'known_mean']

#: A cell of a table: figures get two decimals, NaN becomes ``-``.
Cell = str | int | float
#: Names of the columns, rows, and the means below them.
Cells = tuple[Sequence[str], Sequence[Sequence[Cell]], Sequence[Sequence[Cell]]]


class Report(ABC):
    """Scores of many images, by group; all figures are in per cent.

    An image counts once, however often it is added: distributed samplers repeat items to give all
    processes equally many. All figures run over sorted names, so the order of images never changes
    them.
    """

    def __init__(self) -> None:
        self._groups: dict[str, dict[str, Any]] = {}
        self._sources: dict[str, str | None] = {}

    def add(self, group: str, stem: str, scored: Any, source: str | None = None) -> None:
        """Add one image.

        Args:
            group, stem: names of the group and of the image within it.
            scored: what this kind of report keeps of an image.
            source: the image's file. It tells two images of one name from one that comes twice.

        Raises:
            MMCosegError: if the same group and stem were added from another file.
        """
        identity = f'{group}/{stem}'
        if identity not in self._sources:
            self._sources[identity] = source
            self._groups.setdefault(group, {})[stem] = scored
        elif self._sources[identity] != source:
            raise MMCosegError(
                f'two images are called {identity!r}: {self._sources[identity]} and {source}. '
                'Rename one group or one file: scores are kept by group/stem.'
            )

    def __len__(self) -> int:
        """Number of images."""
        return len(self._sources)

    def groups(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every group's name and its images by stem, both sorted."""
        for group, images in sorted(self._groups.items()):
            yield group, dict(sorted(images.items()))

    def images(self) -> Iterator[tuple[str, Any]]:
        """Every image's identity ``group/stem`` and what was added for it, sorted."""
        for group, images in self.groups():
            for stem, scored in images.items():
                yield f'{group}/{stem}', scored

    @abstractmethod
    def summary(self) -> dict[str, float]:
        """The figures of the whole set; NaN where there is nothing to take a mean of."""

    @abstractmethod
    def _cells(self) -> Cells:
        """What :meth:`table` shows."""

    @abstractmethod
    def _details(self) -> dict:
        """What :meth:`to_dict` holds beside the summary; plain types."""

    def table(self, title: str | None = None) -> str:
        """The figures as a table, its means last."""
        columns, rows, means = self._cells()
        table = Table(title=title, box=box.SQUARE)
        table.add_column(columns[0], no_wrap=True)
        for name in columns[1:]:
            table.add_column(name, justify='right', no_wrap=True)
        for number, row in enumerate([*rows, *means]):
            table.add_row(*map(_text, row), end_section=number + 1 == len(rows))
        console = Console(file=StringIO(), width=160, markup=False)
        console.print(table)
        return '\n'.join(map(str.rstrip, console.file.getvalue().splitlines()))

    def to_dict(self) -> dict:
        """Everything as plain types, for json; None stands for figures that do not exist."""
        content = dict(summary=self.summary(), num_images=len(self), **self._details())
        return _without_nan(content)


class GroupScore(NamedTuple):
    """Mean scores of the images of one group, in per cent."""

    num_images: int
    precision: float
    jaccard: float


class MaskReport(Report):
    """P and J of masks; images are added as pairs (P, J) in [0, 1], as ``image_scores`` gives them.

    Example:
        >>> report = MaskReport()
        >>> report.add('cat', '001', (0.9, 0.5))
        >>> report.add('cat', '002', (0.7, 0.5))
        >>> report.add('dog', '001', (1.0, 1.0))
        >>> {key: round(value, 1) for key, value in report.summary().items()}
        {'P': 90.0, 'J': 75.0, 'P_image': 86.7, 'J_image': 66.7}
    """

    def group_scores(self) -> dict[str, GroupScore]:
        """Image means of every group, by name."""
        result = {}
        for group, images in self.groups():
            precision, jaccard = 100 * np.mean(list(images.values()), axis=0)
            result[group] = GroupScore(len(images), float(precision), float(jaccard))
        return result

    def summary(self) -> dict[str, float]:
        """``P`` and ``J``: mean over groups of their image means; ``P_image``, ``J_image``:
        mean over all images. NaN without images."""
        names = ('P', 'J', 'P_image', 'J_image')
        if not len(self):
            return dict.fromkeys(names, float('nan'))
        over_groups = np.mean([score[1:] for score in self.group_scores().values()], axis=0)
        over_images = 100 * np.mean(list(dict(self.images()).values()), axis=0)
        return dict(zip(names, np.concatenate([over_groups, over_images]).tolist()))

    def _cells(self) -> Cells:
        rows = [(group, *score) for group, score in self.group_scores().items()]
        figures = list(self.summary().values())
        means = ('class mean', len(self), *figures[:2]), ('image mean', len(self), *figures[2:])
        return ('class', 'images', 'P', 'J'), rows, means

    def _details(self) -> dict:
        """By group its means, and its ``images`` by identity ``group/stem``."""
        groups = {}
        for group, (number, precision, jaccard) in self.group_scores().items():
            groups[group] = dict(num_images=number, P=precision, J=jaccard, images={})
        for identity, (precision, jaccard) in self.images():
            group = identity.rpartition('/')[0]
            groups[group]['images'][identity] = dict(P=100 * precision, J=100 * jaccard)
        return dict(groups=groups)


def _text(value: Cell) -> str:
    if not isinstance(value, float):
        return str(value)
    return '-' if math.isnan(value) else f'{value:.2f}'


def known_mean(values: Iterable[float]) -> float:
    """Mean of the values that are not NaN; NaN if there are none."""
    values = np.array(list(values), np.float64)
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float('nan')


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
