"""What a model must know of whole training groups before it trains on draws from them."""

from collections.abc import Iterator

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from rich.progress import track

from ...compat import unwrapped
from ...datasets import ForEachImage, PackGroupInputs, group_collate
from ...errors import MMCosegError
from ...registry import HOOKS
from ...structures import GroupImages

__all__ = ['GroupMapHook']


@HOOKS.register_module()
class GroupMapHook(Hook):
    """Before training, show a model every whole training group (``prepare_training``).

    The soft maps that it gives are kept by the training set as the images' ``group_map``, which
    ``LoadGroupMap`` takes through the pipeline. So workers must start after this hook, as those of
    mmengine's iteration based loop do. All processes of a distributed run compute the same.

    Raises:
        MMCosegError: before training, if ``model.data_preprocessor`` has no ``size``.
    """

    def __init__(self) -> None:
        steps = [dict(type='LoadCoSegImage'), dict(type='ResizeToInput')]
        self.pipeline = [ForEachImage(steps), PackGroupInputs()]

    @torch.no_grad()
    def before_train(self, runner) -> None:
        model = unwrapped(runner.model)
        dataset = runner.train_dataloader.dataset
        preprocessor = model.data_preprocessor
        if preprocessor.size is None:
            raise MMCosegError(
                'GroupMapHook needs the size that images are resized to: set '
                'model.data_preprocessor.size'
            )
        resizing = dict(input_size=preprocessor.size, interpolation=preprocessor.interpolation)
        print_log('looking at the whole training groups', 'current')
        shown = []

        def groups() -> Iterator[GroupImages]:
            """Each group's images as the preprocessor gives them; note in ``shown`` which."""
            for index in track(range(len(dataset)), 'training groups'):
                record = dataset.get_data_info(index)
                item = dict(record, images=[dict(image, **resizing) for image in record['images']])
                for step in self.pipeline:
                    item = step(item)
                data = preprocessor(group_collate([item]), training=False)
                identities = [sample.identity for sample in data['data_samples'][0]]
                # Of the set that the group is in, where several are joined.
                shown.append((record['dataset'], identities))
                yield data['inputs']

        for maps in model.prepare_training(groups()):
            if maps is not None:
                owner, identities = shown[-1]
                maps = (255 * maps[:, 0]).round().byte().cpu().numpy()
                owner.group_maps.update(zip(identities, np.ascontiguousarray(maps)))
