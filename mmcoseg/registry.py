"""Registry nodes of mmcoseg, one for each node of mmsegmentation.

Every node is a child of mmsegmentation's node, and its ``locations`` name mmsegmentation's modules
*and* ours: ``Registry.get`` imports only the locations of the node it was called on, so that a bare
``HRNet`` would otherwise be found or not depending on what was imported earlier.
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
    """Import every installed plugin once, the first time that any node looks a name up.

    One that cannot be imported is named in a warning, and the others are loaded all the same.
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


def _node(parent: _Registry, *places: str) -> Registry:
    return Registry(parent.name, parent=parent, scope='mmcoseg', locations=list(places))


#: Runners, and how they are constructed.
RUNNERS = _node(mmseg.RUNNERS, 'mmcoseg.engine')
RUNNER_CONSTRUCTORS = _node(mmseg.RUNNER_CONSTRUCTORS, 'mmcoseg.engine')
#: Train, validation and test loops.
LOOPS = _node(mmseg.LOOPS, 'mmcoseg.engine')
HOOKS = _node(mmseg.HOOKS, 'mmseg.engine.hooks', 'mmcoseg.engine')
#: Data sets: one item is one group.
DATASETS = _node(mmseg.DATASETS, 'mmseg.datasets', 'mmcoseg.datasets')
DATA_SAMPLERS = _node(mmseg.DATA_SAMPLERS, 'mmcoseg.datasets')
TRANSFORMS = _node(mmseg.TRANSFORMS, 'mmseg.datasets.transforms', 'mmcoseg.datasets.transforms')
#: Segmentors, backbones, modulators, heads and losses.
MODELS = _node(mmseg.MODELS, 'mmseg.models', 'mmcoseg.models')
MODEL_WRAPPERS = _node(mmseg.MODEL_WRAPPERS, 'mmseg.models', 'mmcoseg.models')
WEIGHT_INITIALIZERS = _node(mmseg.WEIGHT_INITIALIZERS, 'mmseg.models', 'mmcoseg.models')
OPTIMIZERS = _node(mmseg.OPTIMIZERS, 'mmseg.engine.optimizers', 'mmcoseg.engine')
OPTIM_WRAPPERS = _node(mmseg.OPTIM_WRAPPERS, 'mmseg.engine.optimizers', 'mmcoseg.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _node(
    mmseg.OPTIM_WRAPPER_CONSTRUCTORS, 'mmseg.engine.optimizers', 'mmcoseg.engine'
)
PARAM_SCHEDULERS = _node(mmseg.PARAM_SCHEDULERS, 'mmseg.engine.schedulers', 'mmcoseg.engine')
METRICS = _node(mmseg.METRICS, 'mmseg.evaluation', 'mmcoseg.evaluation')
EVALUATOR = _node(mmseg.EVALUATOR, 'mmseg.evaluation', 'mmcoseg.evaluation')
#: Post-processors and priors that have no weights.
TASK_UTILS = _node(mmseg.TASK_UTILS, 'mmseg.models', 'mmcoseg.models')
VISUALIZERS = _node(mmseg.VISUALIZERS, 'mmseg.visualization', 'mmcoseg.visualization')
VISBACKENDS = _node(mmseg.VISBACKENDS, 'mmseg.visualization', 'mmcoseg.visualization')
LOG_PROCESSORS = _node(mmseg.LOG_PROCESSORS, 'mmseg.visualization', 'mmcoseg.visualization')
INFERENCERS = _node(mmseg.INFERENCERS, 'mmcoseg.apis')
