"""How many classes recur in a group."""

from dataclasses import dataclass

__all__ = ['ClassCount']


@dataclass(frozen=True)
class ClassCount:
    """An estimate of how many classes recur in a group, and how sure it is.

    Attributes:
        shares: of K = 1, 2, ..., from 0, sum 1: about how often groups that look like this one have
            so many classes.

    Example:
        >>> str(ClassCount((0.09, 0.71, 0.2)))
        '2 classes (sure: 0.71; next 3: 0.20)'
    """

    shares: tuple[float, ...]

    @property
    def num_classes(self) -> int:
        """The K of the largest share, the smallest of them where several are."""
        return 1 + max(range(len(self.shares)), key=lambda k: (self.shares[k], -k))

    @property
    def is_sure(self) -> bool:
        """Whether K is more likely than all others together."""
        return self.shares[self.num_classes - 1] > 0.5

    def __str__(self) -> str:
        number = self.num_classes
        text = f'{number} class{"" if number == 1 else "es"}'
        text += f' ({"sure" if self.is_sure else "unsure"}: {self.shares[number - 1]:.2f}'
        others = [k for k in range(1, len(self.shares) + 1) if k != number]
        if others:
            second = max(others, key=lambda k: (self.shares[k - 1], -k))
            text += f'; next {second}: {self.shares[second - 1]:.2f}'
        return text + ')'
