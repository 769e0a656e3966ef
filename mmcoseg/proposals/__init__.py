"""Object proposals without labels: many masks of a single image, some of which fit its objects.

- :func:`combinatorial_grouping` finds them, as :class:`~mmcoseg.structures.Proposals`;
- :func:`load_proposals_mat` reads published files.
"""

from .grouping import combinatorial_grouping
from .order import diverse_order
from .published import load_proposals_mat

__all__ = ['combinatorial_grouping', 'diverse_order', 'load_proposals_mat']
