"""The config that an inferencer works by: a method's or the user's, changed by the options."""

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from inspect import signature
from io import StringIO
from typing import Any

from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from mmengine.config import Config
from mmengine.registry import Registry

from ..config_files import config_of_method
from ..datasets.transforms import LoadCoSegImage
from ..engine.launch import datasets_of, merge_options, read_config
from ..errors import MMCosegError
from ..models.postprocessors import CleanMask
from ..registry import MODELS, TASK_UTILS, TRANSFORMS
from ..segment_options import InferenceOptions

__all__ = ['import_openmmlab', 'inference_config', 'inference_pipeline']


def inference_config(options: InferenceOptions) -> Config:
    """The config by which :class:`CoSegInferencer` works.

    ``crf=False`` leaves out all parts of the model whose class has ``uses_crf = True``, and those
    that have such a part as an argument, as self-training does. Others learn the number of workers
    if their constructor takes ``num_workers``.

    Raises:
        MMCosegError: for an unknown method, a config without model or test pipeline, or a number of
            classes for a model that has none.
        FileNotFoundError: if there is no such config.
    """
    config = options.config
    if config is None:
        config = config_of_method(options.method)
    cfg = copy.deepcopy(config) if isinstance(config, Config) else read_config(str(config))
    merge_options(cfg, options.cfg_options or {})
    name = cfg.filename or 'the config'
    if cfg.get('model') is None:
        raise MMCosegError(f'{name} has no model')
    _set_number_of_classes(cfg.model, options.num_classes, name)
    if options.min_area is not None or options.largest:
        _set_cleaning(cfg.model, options.min_area, options.largest)
    if not options.crf:
        cfg.model = _without(cfg.model, _has_crf)
    elif options.num_workers is not None:
        _set_workers(cfg.model, options.num_workers)
    if 'test_pipeline' not in cfg or cfg.get('test_dataloader') is not None:
        # What a test would do; the variable of this name is only where configs usually keep it.
        dataset = next(datasets_of(cfg.get('test_dataloader')), {})
        if not dataset.get('pipeline'):
            raise MMCosegError(f'{name} has no test_dataloader whose data set has a pipeline')
        cfg.test_pipeline = dataset.pipeline
    return cfg


def inference_pipeline(steps: Sequence[dict]) -> list[dict]:
    """A test pipeline for images of any kind, about which nothing else is known.

    Steps whose class has ``needs_annotations = True`` are left out, and mmcv's ``LoadAnnotations``
    with all that extend it. mmcv's ``LoadImageFromFile`` becomes ``LoadCoSegImage``. No step keeps
    its results in a ``cache_dir``, since each image comes once.
    """
    pipeline = []
    for step in steps:
        kind = _class_of(step, TRANSFORMS)
        if getattr(kind, 'needs_annotations', False) or _extends(kind, LoadAnnotations):
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
        if model.get('num_classes') == 'data':
            model['num_classes'] = 'auto'  # nothing says it of photographs
        return
    if 'num_classes' not in model:
        raise MMCosegError(
            f'{name} is of a model that does not tell classes apart (it has no '
            'model.num_classes), so that there is no number of classes to choose; the method '
            'mccoseg does'
        )
    model['num_classes'] = number
    if isinstance(number, int) and model.get('max_classes') is not None:
        model['max_classes'] = max(number, model['max_classes'])


def _set_cleaning(model: dict, min_area: float | None, largest: bool) -> None:
    """Let a model clean its masks by these rules."""
    steps = list(model.get('postprocessors') or [])
    cleaning = [step for step in steps if _extends(_class_of(step), CleanMask)]
    if not cleaning:
        cleaning = [dict(type='CleanMask')]
        steps += cleaning
    for step in cleaning:
        if min_area is not None:
            step.update(min_share=0.0, hole_share=0.0, min_area=min_area)
        step['largest'] = largest
    model['postprocessors'] = steps


def _set_workers(model: dict, number: int) -> None:
    """Let parts that use the CRF, and do not say otherwise, have so many helper processes."""
    for part in _parts(model):
        if _uses_crf(part) and 'num_workers' in signature(_class_of(part)).parameters:
            part.setdefault('num_workers', number if number > 1 else 0)


def _class_of(part: dict, *registries: Registry) -> type | None:
    """The class that a config names, if it is registered."""
    kind = part.get('type')
    if not isinstance(kind, str):
        return kind
    import_openmmlab()
    for registry in registries or (TASK_UTILS, MODELS):
        found = registry.get(kind)
        if found is not None:
            return found
    return None


def import_openmmlab() -> None:
    """Import what registries look names up in, without warnings of what it would need to train."""
    with redirect_stdout(StringIO()), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        import mmseg.datasets
        import mmseg.models  # noqa: F401


def _extends(kind: Any, base: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, base)


def _is_part(node: Any) -> bool:
    return isinstance(node, dict) and 'type' in node


def _uses_crf(part: dict) -> bool:
    return getattr(_class_of(part), 'uses_crf', False)


def _has_crf(part: dict) -> bool:
    """Whether a part uses the CRF, by itself or by one of its arguments."""
    return _uses_crf(part) or any(_is_part(value) and _has_crf(value) for value in part.values())


def _parts(node: Any) -> Iterator[dict]:
    """All configs of parts in a config, at any depth."""
    if _is_part(node):
        yield node
    if isinstance(node, dict):
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from _parts(child)


def _without(node: Any, unwanted: Callable[[dict], bool]) -> Any:
    """A config without unwanted parts in its lists and named collections of parts, at any depth.

    What is itself an argument of a part, such as the backbone of a model, stays.
    """
    if isinstance(node, dict):
        named = 'type' not in node
        kept = {}
        for key, child in node.items():
            if not (named and _is_part(child) and unwanted(child)):
                kept[key] = _without(child, unwanted)
        return type(node)(kept)
    if isinstance(node, (list, tuple)):
        kept = [_without(c, unwanted) for c in node if not (_is_part(c) and unwanted(c))]
        return type(node)(kept)
    return node
