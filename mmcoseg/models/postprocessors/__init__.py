"""Post-processors: called with a ``GroupDataSample`` that has predictions, which they improve.

What they do to one image are functions of arrays: ``mean_field.dense_crf``,
``guided_filter.guided_filter``.
"""

from .dense_crf import DenseCRF, refine_many
from .edge_refiner import EdgeRefiner
from .guided_filter import GuidedFilter

__all__ = ['DenseCRF', 'EdgeRefiner', 'GuidedFilter', 'refine_many']
