"""Resizing to what the network takes."""

from mmcv.transforms import BaseTransform

from ...errors import MMCosegError
from ...registry import TRANSFORMS

__all__ = ['ResizeToInput']


@TRANSFORMS.register_module()
class ResizeToInput(BaseTransform):
    """Resize an image, its masks and its group map to the network's input.

    The size is ``model.data_preprocessor.size`` of the config; programs hand it to data sets, whose
    records carry it as ``input_size`` (height, width) and ``interpolation``. Where it is None the
    image stays as it is.
    """

    def __init__(self) -> None:
        self._resizers: dict[tuple, BaseTransform] = {}

    def transform(self, results: dict) -> dict:
        """Raises: MMCosegError: if the record says no size."""
        if 'input_size' not in results:
            raise MMCosegError(
                "ResizeToInput does not know the network's input size: set "
                'model.data_preprocessor.size, or input_size of the data set'
            )
        if results['input_size'] is None:
            return results
        height, width = results['input_size']
        key = (width, height, results['interpolation'])
        if key not in self._resizers:
            config = dict(type='mmseg.Resize', scale=key[:2], interpolation=key[2])
            self._resizers[key] = TRANSFORMS.build(dict(config, keep_ratio=False))
        return self._resizers[key](results)
