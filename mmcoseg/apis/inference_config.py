"""The config of an inferencer: a method's or the user's, with the options applied."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from mmengine.config import Config, ConfigDict

from ..config_check import class_of, name_of, require_sound
from ..config_files import config_of_method
from ..datasets.transforms import LoadCoSegImage
from ..engine.run_config import datasets_of, merge_options, read_config
from ..errors import MMCosegError
from ..models.postprocessors import CleanMask
from ..models.segmentors import TrainingFreeCoSegmentor
from ..registry import MODELS, TASK_UTILS, TRANSFORMS
from ..segment_options import InferenceOptions
from ..structures import read_objects

__all__ = ['inference_config', 'inference_pipeline']


def inference_config(options: InferenceOptions) -> Config:
    """The config of :class:`CoSegInferencer` for these options.

    Raises:
        MMCosegError: for an unknown method, a config without model or test pipeline, or a number of
            classes for a model that has none.
        FileNotFoundError: if there is no such config, or file of a saved object.
    """
    if isinstance(options.config, Config):
        cfg = copy.deepcopy(options.config)
    else:
        cfg = read_config(str(options.config or config_of_method(options.method)))
    merge_options(cfg, options.cfg_options)
    name = name_of(cfg)
    if cfg.get('model') is None:
        raise MMCosegError(f'{name} has no model')
    _set_number_of_classes(cfg.model, options.num_classes, name)
    if options.objects:
        cfg.model = _applying(cfg.model, options.objects, name)
    _set_cleaning(cfg.model, options.min_area, options.largest)
    if not options.crf:
        cfg.model = _without_crf(cfg.model)
    # The variable `test_pipeline` may be of another data set.
    if 'test_pipeline' not in cfg or cfg.get('test_dataloader') is not None:
        dataset = next(datasets_of(cfg.get('test_dataloader')), {})
        if not dataset.get('pipeline'):
            raise MMCosegError(f'{name} has no test_dataloader whose data set has a pipeline')
        cfg.test_pipeline = dataset.pipeline
    require_sound(cfg, ('model', 'test_pipeline'))
    return cfg


def inference_pipeline(steps: Sequence[dict]) -> list[dict]:
    """A test pipeline for images without annotations.

    It leaves out steps whose class has ``needs_annotations = True``, and mmcv's ``LoadAnnotations``
    and its subclasses. mmcv's ``LoadImageFromFile`` becomes ``LoadCoSegImage``. ``cache_dir``
    becomes None, since each image comes once.
    """
    pipeline = []
    for step in steps:
        kind = class_of(step, TRANSFORMS)
        if getattr(kind, 'needs_annotations', issubclass(kind, LoadAnnotations)):
            continue
        step = copy.deepcopy(step)
        if kind is LoadImageFromFile:
            step = dict(type=LoadCoSegImage)
        if 'cache_dir' in step:
            step['cache_dir'] = None
        if 'transforms' in step:
            step['transforms'] = inference_pipeline(step['transforms'])
        pipeline.append(step)
    return pipeline


def _set_number_of_classes(model: dict, number: int | str | None, name: str) -> None:
    if number is None:
        if model.get('num_classes') != 'data':
            return
        number = 'auto'  # nothing says it of photographs
    if 'num_classes' not in model:
        raise MMCosegError(
            f'{name} is of a model that does not tell classes apart (it has no '
            'model.num_classes), so that there is no number of classes to choose; the method '
            'mccoseg does'
        )
    model['num_classes'] = number
    if number != 'auto' and model.get('max_classes') is not None:
        model['max_classes'] = max(number, model['max_classes'])


def _applying(model: dict, files: Sequence[str | Path], name: str) -> dict:
    """The model that finds saved objects by the parts of one that segments groups."""
    if not issubclass(class_of(model, MODELS), TrainingFreeCoSegmentor):
        raise MMCosegError(
            f'{name} is of a model that saves no objects, so that it applies none; the method '
            'consensus does'
        )
    read_objects(files)  # what is wrong with them is said before anything is computed
    applying = dict(type='AppliedObjects', objects=[str(file) for file in files])
    for key in ('backbone', 'data_preprocessor', 'postprocessors', 'test_cfg'):
        if key in model:
            applying[key] = model[key]
    return ConfigDict(applying)


def _set_cleaning(model: dict, min_area: float | None, largest: bool) -> None:
    """Set the rules by which a model cleans its masks, if any were chosen."""
    if min_area is None and not largest:
        return
    rules = dict(largest=largest)
    if min_area is not None:
        rules.update(min_share=0.0, hole_share=0.0, min_area=min_area)
    steps = list(model.get('postprocessors') or [])
    cleaning = [step for step in steps if issubclass(class_of(step, TASK_UTILS), CleanMask)]
    if not cleaning:
        cleaning = [dict(type='CleanMask')]
        steps += cleaning
    for step in cleaning:
        step.update(rules)
    model['postprocessors'] = steps


def _without_crf(node: Any) -> Any:
    """A copy of a config; its lists and named collections lose all parts that use the CRF."""
    if isinstance(node, (list, tuple)):
        return type(node)([_without_crf(value) for value in node if not _uses_crf(value)])
    if not isinstance(node, dict):
        return node
    kept = type(node)()
    for key, value in node.items():
        if 'type' in node or not _uses_crf(value):
            kept[key] = _without_crf(value)
    return kept


def _uses_crf(node: Any) -> bool:
    """Whether the class of a part, or of one of its arguments, has ``uses_crf = True``.

    Self-training is such a part: a CRF draws its targets.
    """
    if not isinstance(node, dict) or 'type' not in node:
        return False
    kind = class_of(node, MODELS)
    return getattr(kind, 'uses_crf', False) or any(map(_uses_crf, node.values()))
