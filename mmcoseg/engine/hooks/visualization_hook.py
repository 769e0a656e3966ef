"""Contact sheets of what a model predicts in validation and test."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import get_dist_info
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...datasets.image_io import read_image
from ...errors import MMCosegError
from ...registry import HOOKS
from ...structures import CoSegDataSample, GroupDataSample
from ...visualization import GroupVisualizer

__all__ = ['GroupVisualizationHook']


@HOOKS.register_module()
class GroupVisualizationHook(Hook):
    """Draw every n-th group with its images, true and predicted masks.

    Images are read from their files, or taken from the batch, at the network's resolution, where
    there is no file (synthetic sets). The runner's visualizer must be a ``GroupVisualizer``.

    Args:
        draw: do it; False makes the hook idle.
        interval: draw groups number 0, interval, 2 * interval, ...
        out_dir: folder for the sheets, ``<group>.jpg``; a later validation replaces those of an
            earlier one, while the visualizer's backends keep the history. None: the folder
            ``groups`` in the run's log folder.
        show: open windows instead of writing to backends.
        wait_time: seconds for which a window stays; 0: until a key is pressed.

    Raises:
        MMCosegError: if ``interval`` is not positive.
        MMCosegError: when drawing, if the visualizer is none of ours.
    """

    priority = 'NORMAL'

    def __init__(
        self,
        draw: bool = False,
        interval: int = 1,
        out_dir: str | None = None,
        show: bool = False,
        wait_time: float = 0,
    ) -> None:
        if interval < 1:
            raise MMCosegError(f'interval must be at least 1, got {interval}')
        self.draw = draw
        self.interval = interval
        self.out_dir = out_dir
        self.show = show
        self.wait_time = wait_time
        self._seen = 0  # groups, in this pass and this process

    def before_val_epoch(self, runner: Runner) -> None:
        self._seen = 0

    def before_test_epoch(self, runner: Runner) -> None:
        self._seen = 0

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[GroupDataSample] | None = None,
    ) -> None:
        self._draw(runner, data_batch, outputs)

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[GroupDataSample] | None = None,
    ) -> None:
        self._draw(runner, data_batch, outputs)

    def _draw(self, runner: Runner, data_batch: dict, outputs: Sequence[GroupDataSample]) -> None:
        if not self.draw:
            return
        rank, world_size = get_dist_info()
        for inputs, group in zip(data_batch['inputs'], outputs, strict=True):
            # Processes take turns in mmengine's samplers: so all together draw every n-th group.
            number = self._seen * world_size + rank
            self._seen += 1
            if number % self.interval:
                continue
            if not isinstance(runner.visualizer, GroupVisualizer):
                raise MMCosegError(
                    'GroupVisualizationHook draws with a GroupVisualizer, but the visualizer is '
                    f"{type(runner.visualizer).__name__}: set visualizer=dict(type='Group"
                    "Visualizer', ...) in the config"
                )
            images = [_image_of(s, x) for s, x in zip(group, inputs, strict=True)]
            runner.visualizer.add_datasample(
                group.group,
                images,
                group,
                show=self.show,
                wait_time=self.wait_time,
                out_dir=self.out_dir or Path(runner.log_dir) / 'groups',
                step=runner.iter,
            )


def _image_of(sample: CoSegDataSample, network_input: torch.Tensor) -> np.ndarray:
    """The image, (H, W, 3) uint8 RGB: its file, or else what the network was given (BGR)."""
    path = sample.get('img_path')
    if path and Path(path).is_file():
        image = read_image(path)
    else:
        image = network_input.detach().cpu().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return np.ascontiguousarray(image[..., ::-1])
