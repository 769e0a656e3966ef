"""What segmentors that are optimized on a group keep of a prior of its images."""

from torch import Tensor

from ...structures import CoSegDataSample, GroupDataSample

__all__ = ['flipped_as', 'without_predictions']


def without_predictions(group: GroupDataSample) -> GroupDataSample:
    """The group with nothing but what a method that needs no training looks at."""
    samples = []
    for sample in group:
        samples.append(CoSegDataSample(metainfo=sample.metainfo))
        if 'saliency' in sample:
            samples[-1].saliency = sample.saliency
    return GroupDataSample(samples, metainfo=group.metainfo)


def flipped_as(sample: CoSegDataSample, maps: Tensor) -> Tensor:
    """Maps (..., h, w) of the upright image as the pipeline has turned it over."""
    if not sample.metainfo.get('flip', False):
        return maps
    direction = sample.metainfo.get('flip_direction', 'horizontal')
    return maps.flip(dict(horizontal=(-1,), vertical=(-2,), diagonal=(-2, -1))[direction])
