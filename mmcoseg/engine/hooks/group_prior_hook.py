"""What a model must know of whole training groups before it trains on draws from them."""

from collections.abc import Iterator

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from rich.progress import track

from ...datasets import ForEachImage, PackGroupInputs, group_collate
from ...models.necks import Modulation
from ...registry import HOOKS

__all__ = ['GroupPriorHook']


@HOOKS.register_module()
class GroupPriorHook(Hook):
    """Before training: the neck's feature statistics, and S of every whole training group.

    For models with a neck that is fitted (``FeatureWhitening``) and a spatial modulator that has
    nothing to learn. S is kept by the training set as the images' prior, which ``LoadPrior`` takes
    through the pipeline; so workers must start after this hook, as those of mmengine's iteration
    based loop do. All processes of a distributed run compute the same.

    Args:
        image_size: (width, height) that the images are resized to, with the interpolation 'area'.
        chunk_size: images that go through the backbone at a time.
    """

    def __init__(self, image_size: tuple[int, int], chunk_size: int = 16) -> None:
        self.chunk_size = chunk_size
        self.pipeline = [
            ForEachImage(
                [
                    dict(type='LoadCoSegImage'),
                    dict(
                        type='mmcv.Resize',
                        scale=tuple(image_size),
                        keep_ratio=False,
                        interpolation='area',
                    ),
                ]
            ),
            PackGroupInputs(),
        ]

    @torch.no_grad()
    def before_train(self, runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        dataset = runner.train_dataloader.dataset
        print_log('features of the whole training groups: statistics and S', 'current')
        samples = []
        for group in track(range(len(dataset)), 'training groups'):
            identities, descriptors = [], []
            record = dataset.get_data_info(group)
            for names, images in self._chunks(model, record):
                identities += names
                if not model.neck.fitted:
                    samples.append(model.neck.sample(model.extract_feat(images)))
                if 'spatial' in model.modulators:
                    descriptors.append(model.spatial_descriptors(images))
            if descriptors:
                maps = model.modulators['spatial'].modulate_group(
                    torch.cat(descriptors), [len(identities)], Modulation()
                )
                maps = (255 * maps.shift[:, 0]).round().byte().cpu().numpy()
                # Of the set that the group is in, where several are joined.
                record['dataset'].priors.update(zip(identities, np.ascontiguousarray(maps)))
        if samples:
            model.neck.fit(samples)

    def _chunks(self, model, record: dict) -> Iterator[tuple[list[str], torch.Tensor]]:
        """The images of a group in chunks: identities, and what the preprocessor makes of them."""
        for start in range(0, len(record['images']), self.chunk_size):
            item = dict(record, images=record['images'][start : start + self.chunk_size])
            for step in self.pipeline:
                item = step(item)
            data = model.data_preprocessor(group_collate([item]), training=False)
            yield [sample.identity for sample in data['data_samples'][0]], data['inputs']
