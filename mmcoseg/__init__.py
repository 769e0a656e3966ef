"""mmcoseg: the OpenMMLab toolbox for object co-segmentation."""

from .version import __version__

__all__ = ['__version__']
