"""Registry nodes of mmcoseg, one for each node of mmsegmentation.

Every node is a child of mmsegmentation's node of the same name, and its
``locations`` name mmsegmentation's modules *and* ours. Both are needed:
``Registry.get`` searches the parents' tables, but imports only the locations
of the node it was called on, so that without mmsegmentation's location a bare
``HRNet`` would be found or not depending on what was imported earlier.

Installed plugins (entry-point group ``mmcoseg.plugins``) are imported the first
time that any node looks a name up: see :func:`load_plugins`.
"""

import warnings
from importlib import import_module
from importlib.metadata import entry_points

from mmengine.registry import Registry as _Registry
from mmseg import registry as mmseg

#: Entry-point group in which a package names the module that registers its classes.
PLUGIN_GROUP = 'mmcoseg.plugins'

_plugins_loaded = False


def load_plugins() -> None:
    """Import every installed plugin once.

    A plugin that cannot be imported is reported as a warning with its name and
    the cause, and the others are loaded all the same: a broken third-party
    package must not take the toolbox down with it.
    """
    global _plugins_loaded
    if _plugins_loaded:
        return
    _plugins_loaded = True  # first: a plugin's import may itself look names up
    for entry in entry_points(group=PLUGIN_GROUP):
        try:
            import_module(entry.module)
        except Exception as error:  # the plugin's code may raise anything
            warnings.warn(
                f'mmcoseg plugin {entry.name!r} ({entry.module}) could not be imported and is '
                f'left out: {type(error).__name__}: {error}. Repair or uninstall the package.',
                stacklevel=2,
            )


class Registry(_Registry):
    """An mmengine registry that also knows the installed plugins."""

    def import_from_location(self) -> None:
        super().import_from_location()
        load_plugins()


def _node(name: str, parent: _Registry, *places: str) -> Registry:
    return Registry(name, parent=parent, scope='mmcoseg', locations=list(places))


#: Runners, and how they are constructed.
RUNNERS = _node('runner', mmseg.RUNNERS, 'mmcoseg.engine')
RUNNER_CONSTRUCTORS = _node('runner constructor', mmseg.RUNNER_CONSTRUCTORS, 'mmcoseg.engine')
#: Train, validation and test loops.
LOOPS = _node('loop', mmseg.LOOPS, 'mmcoseg.engine')
HOOKS = _node('hook', mmseg.HOOKS, 'mmseg.engine.hooks', 'mmcoseg.engine')
#: Data sets: one item is one group.
DATASETS = _node('dataset', mmseg.DATASETS, 'mmseg.datasets', 'mmcoseg.datasets')
DATA_SAMPLERS = _node('data sampler', mmseg.DATA_SAMPLERS, 'mmcoseg.datasets')
TRANSFORMS = _node(
    'transform', mmseg.TRANSFORMS, 'mmseg.datasets.transforms', 'mmcoseg.datasets.transforms'
)
#: Segmentors, backbones, modulators, heads and losses.
MODELS = _node('model', mmseg.MODELS, 'mmseg.models', 'mmcoseg.models')
MODEL_WRAPPERS = _node('model_wrapper', mmseg.MODEL_WRAPPERS, 'mmseg.models', 'mmcoseg.models')
WEIGHT_INITIALIZERS = _node(
    'weight initializer', mmseg.WEIGHT_INITIALIZERS, 'mmseg.models', 'mmcoseg.models'
)
OPTIMIZERS = _node('optimizer', mmseg.OPTIMIZERS, 'mmseg.engine.optimizers', 'mmcoseg.engine')
OPTIM_WRAPPERS = _node(
    'optim_wrapper', mmseg.OPTIM_WRAPPERS, 'mmseg.engine.optimizers', 'mmcoseg.engine'
)
OPTIM_WRAPPER_CONSTRUCTORS = _node(
    'optimizer wrapper constructor',
    mmseg.OPTIM_WRAPPER_CONSTRUCTORS,
    'mmseg.engine.optimizers',
    'mmcoseg.engine',
)
PARAM_SCHEDULERS = _node(
    'parameter scheduler', mmseg.PARAM_SCHEDULERS, 'mmseg.engine.schedulers', 'mmcoseg.engine'
)
METRICS = _node('metric', mmseg.METRICS, 'mmseg.evaluation', 'mmcoseg.evaluation')
EVALUATOR = _node('evaluator', mmseg.EVALUATOR, 'mmseg.evaluation', 'mmcoseg.evaluation')
#: Post-processors and priors that have no weights.
TASK_UTILS = _node('task util', mmseg.TASK_UTILS, 'mmseg.models', 'mmcoseg.models')
VISUALIZERS = _node('visualizer', mmseg.VISUALIZERS, 'mmseg.visualization', 'mmcoseg.visualization')
VISBACKENDS = _node(
    'vis_backend', mmseg.VISBACKENDS, 'mmseg.visualization', 'mmcoseg.visualization'
)
LOG_PROCESSORS = _node(
    'log_processor', mmseg.LOG_PROCESSORS, 'mmseg.visualization', 'mmcoseg.visualization'
)
INFERENCERS = _node('inferencer', mmseg.INFERENCERS, 'mmcoseg.apis')
