"""A runner that keeps its console for what happens."""

import logging
from typing import Any

from mmengine.logging import MMLogger
from mmengine.runner import Runner

from ..compat import quiet_imports

__all__ = ['QuietRunner']

#: How messages begin that only the log file needs: hundreds of lines before the first result, and
#: what mmengine says about its own use of itself.
_FOR_THE_FILE = (
    'System environment:',
    'Config:',
    'Hooks will be executed',
    'Distributed training is not used',
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
)


class QuietRunner(Runner):
    """mmengine's runner, which leaves environment, config and lists of hooks to the log file."""

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(
                    lambda record: not record.getMessage().lstrip('-\n').startswith(_FOR_THE_FILE)
                )
        quiet_imports()
        return logger
