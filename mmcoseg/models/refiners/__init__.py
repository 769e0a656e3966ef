"""What looks at the soft maps of a whole group again: self-training, and presence scores."""

from .group_context import GroupContext
from .presence import PrototypePresence
from .self_training import SelfTraining
from .split_classes import SplitClasses

__all__ = ['GroupContext', 'PrototypePresence', 'SelfTraining', 'SplitClasses']
