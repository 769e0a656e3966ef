"""Predicted masks as files."""

from collections.abc import Sequence
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image

from ...registry import HOOKS
from ...structures import GroupDataSample

__all__ = ['SaveMasksHook']


@HOOKS.register_module()
class SaveMasksHook(Hook):
    """Write every predicted mask of a test as ``<out_dir>/<group>/<stem>.png``.

    The files have the images' original size and the canonical layout of ``masks/``, which
    ``mmcoseg evaluate`` and ``CoSegDataset`` read. A map of one channel becomes 0 and 255, which
    viewers show; several classes keep their numbers.

    Args:
        out_dir: folder, made where needed.
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
                mask = sample.pred_sem_seg.data[0].cpu().numpy().astype('uint8')
                if len(sample.pred_prob.data) == 1:
                    mask = mask * 255
                path = self.out_dir / f'{sample.identity}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask).save(path)
