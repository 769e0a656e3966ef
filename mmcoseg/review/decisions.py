"""From actions of people to what counts of each image."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from .journal import Action

__all__ = ['TO_DRAW', 'Decision', 'ImageKey', 'State', 'decide', 'image_keys']

State = Literal['unseen', 'accepted', 'rejected', 'left out']
#: In place of a mask's name: it was accepted before it was drawn.
TO_DRAW = ''
#: Group and stem of an image.
ImageKey = tuple[str, str]


@dataclass
class Decision:
    """What people said of an image.

    Args:
        state: ``'unseen'``: nothing; ``'accepted'``: its mask is right; ``'rejected'``: it does not
            show the object; ``'left out'``: it is not wanted.
        hints: entries as in a file of hints; ``{"example": <name>}`` is a stored mask.
        mask: name of the stored mask that was accepted; None for the first one; :data:`TO_DRAW`.
    """

    state: State = 'unseen'
    hints: list[dict[str, Any]] = field(default_factory=list)
    mask: str | None = None

    @property
    def is_settled(self) -> bool:
        """Whether what others say cannot change the mask any more."""
        return self.state != 'unseen' and self.mask != TO_DRAW

    @property
    def said(self) -> list[dict[str, Any]]:
        """The entries that count: the hints, or the absence that a rejection is."""
        if self.state == 'rejected':
            return [dict(absent=True)]
        return [] if self.state == 'left out' else self.hints

    @property
    def shown(self) -> str:
        """The state as people see it: an image that was accepted with hints is corrected."""
        return 'corrected' if self.state == 'accepted' and self.hints else self.state


def decide(actions: Iterable[Action]) -> dict[ImageKey, Decision]:
    """What counts after all of these actions, of images that were named.

    An action is one of

    - ``{"hint": <entry>, "group": <name>, "image": <stem>}``; the image is then undecided;
    - ``{"decide": <state>, "group": <name>, "images": {<stem>: <mask or None>, ...}}``;
    - the same with ``{"decide": "corrected"}``: people made the masks elsewhere, so they are hints,
      and accepted.
    """
    decisions: dict[ImageKey, Decision] = defaultdict(Decision)
    for action in actions:
        group = action['group']
        if 'hint' in action:
            decision = decisions[group, action['image']]
            decision.hints.append(action['hint'])
            decision.state, decision.mask = 'unseen', None
            continue
        is_corrected = action['decide'] == 'corrected'
        for stem, mask in action['images'].items():
            decision = decisions[group, stem]
            decision.state, decision.mask = action['decide'], mask
            if is_corrected:
                decision.state = 'accepted'
                decision.hints.append(dict(example=mask))
    return dict(decisions)


def image_keys(action: Action) -> list[ImageKey]:
    """The images that an action is about."""
    stems = [action['image']] if 'hint' in action else action['images']
    return [(action['group'], stem) for stem in stems]
