"""Testing on several data sets, one after the other, in one run."""

import logging

from mmengine.logging import print_log
from mmengine.runner import BaseLoop, TestLoop

from ...errors import MMCosegError
from ...registry import LOOPS

__all__ = ['MultiTestLoop']


@LOOPS.register_module()
class MultiTestLoop(BaseLoop):
    """Test on several named data sets; every set has its own table.

    Sets with files that are not there are left out with a message, as long as one is left.

    Args:
        dataloader: name of the set -> config of its dataloader; None removes a set that a base
            config has.
        evaluator: one config for all sets, or name of the set -> config.

    Raises:
        MMCosegError: if ``dataloader`` is not a dict of configs.
        FileNotFoundError: if no set is there.
    """

    def __init__(
        self, runner, dataloader: dict[str, dict | None], evaluator: dict | list[dict]
    ) -> None:
        named = {name: cfg for name, cfg in dict(dataloader).items() if cfg is not None}
        if not all(isinstance(cfg, dict) for cfg in named.values()):
            raise MMCosegError(
                'MultiTestLoop needs test_dataloader=dict(<name of the set>=dict(batch_size=..., '
                f'dataset=...), ...), got {dataloader!r}'
            )
        self._runner = runner
        self.loops: dict[str, TestLoop] = {}
        missing = []
        for name, cfg in named.items():
            own = evaluator.get(name, evaluator) if isinstance(evaluator, dict) else evaluator
            try:
                self.loops[name] = TestLoop(runner, cfg, own)
            except FileNotFoundError as error:
                missing.append(f'{name}: {error}')
        if not self.loops:
            raise FileNotFoundError('none of the test sets is there.\n' + '\n'.join(missing))
        for message in missing:
            print_log(f'left out of the test: {message}', 'current', logging.WARNING)
        # What hooks ask the runner for; always that of the set being tested.
        self.dataloader = next(iter(self.loops.values())).dataloader

    @property
    def runner(self):
        return self._runner

    def run(self) -> dict[str, float]:
        """Test on each set; the names of its metrics begin with ``<name of the set>/``."""
        metrics = {}
        for name, loop in self.loops.items():
            print_log(f'testing on {name}', 'current')
            self.dataloader = loop.dataloader
            metrics.update({f'{name}/{key}': value for key, value in loop.run().items()})
        return metrics
