"""What a model predicts in validation and test as files: masks and contact sheets."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image

from ...datasets.image_io import image_of
from ...errors import MMCosegError
from ...files import file_name_of, save_image
from ...registry import HOOKS
from ...structures import CoSegDataSample, GroupDataSample, to_numpy
from ...visualization import GroupVisualizer

__all__ = ['GroupVisualizationHook', 'SaveMasksHook']


@HOOKS.register_module()
class SaveMasksHook(Hook):
    """Write every predicted mask of a test as ``<out_dir>/<group>/<stem>.png``.

    The files have the images' original size and the layout of ``masks/``, which ``mmcoseg
    evaluate`` and ``CoSegDataset`` read. One object becomes 0 and 255, which viewers show; several
    classes keep their numbers. Names that cannot be files are changed as by ``mmcoseg segment``.

    Args:
        out_dir: folder, created if needed.
    """

    def __init__(self, out_dir: str) -> None:
        self.out_dir = Path(out_dir)

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[GroupDataSample] = (),
    ) -> None:
        for group in outputs:
            for sample in group:
                mask = to_numpy(sample.pred_sem_seg.data)[0].astype('uint8')
                if len(sample.pred_prob.data) == 1:
                    mask = mask * 255
                name = file_name_of(sample.stem, '.png')
                path = self.out_dir / file_name_of(sample.group) / name
                save_image(Image.fromarray(mask), path, 'PNG')


@HOOKS.register_module()
class GroupVisualizationHook(Hook):
    """Draw every group with its images, true and predicted masks.

    The pictures are the original images, or the network's inputs if samples name no image.

    Args:
        draw: False makes the hook idle.
        out_dir: folder for the sheets, ``<group>.jpg``; a later validation replaces those of an
            earlier one, while the visualizer's backends keep the history. None: the folder
            ``groups`` in the run's log folder.

    Raises:
        MMCosegError: when drawing, if the runner's visualizer is not a ``GroupVisualizer``.
    """

    def __init__(self, draw: bool = False, out_dir: str | None = None) -> None:
        self.draw = draw
        self.out_dir = out_dir

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[GroupDataSample] | None = None,
    ) -> None:
        self._draw(runner, data_batch, outputs, step=runner.iter)

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[GroupDataSample] | None = None,
    ) -> None:
        # Not the runner's iteration, which would build the training loop and its data.
        self._draw(runner, data_batch, outputs, step=0)

    def _draw(
        self, runner: Runner, data_batch: dict, outputs: Sequence[GroupDataSample], step: int
    ) -> None:
        if not self.draw:
            return
        if not isinstance(runner.visualizer, GroupVisualizer):
            raise MMCosegError(
                'GroupVisualizationHook draws with a GroupVisualizer, but the visualizer is '
                f"{type(runner.visualizer).__name__}: set visualizer=dict(type='Group"
                "Visualizer', ...) in the config"
            )
        out_dir = self.out_dir or Path(runner.log_dir) / 'groups'
        for inputs, group in zip(data_batch['inputs'], outputs, strict=True):
            pictures = [_picture(sample, x) for sample, x in zip(group, inputs, strict=True)]
            runner.visualizer.add_datasample(
                group.group, pictures, group, out_dir=out_dir, step=step
            )


def _picture(sample: CoSegDataSample, network_input: torch.Tensor) -> np.ndarray:
    """The image, (H, W, 3) uint8 RGB."""
    if any(sample.get(key) is not None for key in ('ori_img', 'render', 'img_path')):
        image = image_of(sample)
    else:
        image = to_numpy(network_input.clamp(0, 255).byte().permute(1, 2, 0))
    return np.ascontiguousarray(image[..., ::-1])
