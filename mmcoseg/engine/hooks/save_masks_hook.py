"""Predicted masks as files."""

from collections.abc import Sequence
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image

from ...files import file_name_of, save_image
from ...registry import HOOKS
from ...structures import GroupDataSample, to_numpy

__all__ = ['SaveMasksHook']


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
