"""The built-in data set: rendered groups of procedural objects."""

from .dataset import RenderedImage, SyntheticCoSegDataset
from .scene import Category, SceneObject, category, render_scene
from .sequence import render_sequence

__all__ = [
    'Category',
    'RenderedImage',
    'SceneObject',
    'SyntheticCoSegDataset',
    'category',
    'render_scene',
    'render_sequence',
]
