"""What a model must know of whole training groups before it trains on draws from them."""

from collections.abc import Iterator

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from rich.progress import track

from ...datasets import ForEachImage, PackGroupInputs, group_collate
from ...registry import HOOKS
from ...structures import GroupImages

__all__ = ['GroupMapHook']


@HOOKS.register_module()
class GroupMapHook(Hook):
    """Before training, show a model every whole training group (``prepare_training``).

    The soft maps that it gives are kept by the training set as the images' ``group_map``, which
    ``LoadGroupMap`` takes through the pipeline. So workers must start after this hook, as those of
    mmengine's iteration based loop do. All processes of a distributed run compute the same.

    Args:
        image_size: (width, height) that the images are resized to, with the interpolation 'area'.
    """

    def __init__(self, image_size: tuple[int, int]) -> None:
        resize = dict(
            type='mmcv.Resize', scale=tuple(image_size), keep_ratio=False, interpolation='area'
        )
        self.pipeline = [
            ForEachImage([dict(type='LoadCoSegImage'), resize]),
            PackGroupInputs(),
        ]

    @torch.no_grad()
    def before_train(self, runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        dataset = runner.train_dataloader.dataset
        print_log('looking at the whole training groups', 'current')
        # Of the set that the group is in, where several are joined.
        records = (dataset.get_data_info(i) for i in range(len(dataset)))
        records = list(track(records, 'training groups', total=len(dataset)))
        self._identities: list[str] = []
        for record, maps in zip(records, model.prepare_training(self._groups(model, records))):
            if maps is not None:
                maps = (255 * maps[:, 0]).round().byte().cpu().numpy()
                named = zip(self._identities, np.ascontiguousarray(maps))
                record['dataset'].group_maps.update(named)

    def _groups(self, model, records: list[dict]) -> Iterator[GroupImages]:
        """The images of each group, as the preprocessor gives them."""
        for record in records:
            for step in self.pipeline:
                record = step(record)
            data = model.data_preprocessor(group_collate([record]), training=False)
            self._identities = [sample.identity for sample in data['data_samples'][0]]
            yield data['inputs']
