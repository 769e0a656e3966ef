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
        shown = []

        def groups() -> Iterator[GroupImages]:
            """Each group's images as the preprocessor gives them; note in ``shown`` which."""
            for index in track(range(len(dataset)), 'training groups'):
                record = dataset.get_data_info(index)
                item = dict(record)
                for step in self.pipeline:
                    item = step(item)
                data = model.data_preprocessor(group_collate([item]), training=False)
                identities = [sample.identity for sample in data['data_samples'][0]]
                # Of the set that the group is in, where several are joined.
                shown.append((record['dataset'], identities))
                yield data['inputs']

        for maps in model.prepare_training(groups()):
            if maps is not None:
                owner, identities = shown[-1]
                maps = (255 * maps[:, 0]).round().byte().cpu().numpy()
                owner.priors.update(zip(identities, np.ascontiguousarray(maps)))
