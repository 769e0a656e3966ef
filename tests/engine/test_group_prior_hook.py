"""Where the maps of whole training groups go."""

from types import SimpleNamespace

import torch

from mmcoseg.datasets import ConcatCoSegDataset
from mmcoseg.engine.hooks import GroupPriorHook
from mmcoseg.models.necks import Modulation
from mmcoseg.testing import write_tiny_dataset


class NumberOfImages:
    """A modulator whose maps are the share of ten that a group has images."""

    def modulate_group(self, descriptors, sizes, previous):
        return Modulation(shift=torch.full((sizes[0], 1, 2, 2), sizes[0] / 10))


def test_joined_sets_keep_the_maps_of_groups_of_one_name_apart(tmp_path):
    roots = [
        write_tiny_dataset(tmp_path / str(count), dict(bee=count), size=(20, 30))
        for count in (2, 3)
    ]
    joined = ConcatCoSegDataset([dict(type='CoSegDataset', data_root=str(root)) for root in roots])
    model = SimpleNamespace(
        neck=SimpleNamespace(fitted=True),
        modulators=dict(spatial=NumberOfImages()),
        data_preprocessor=lambda batch, training: dict(
            inputs=torch.stack(batch['inputs'][0]), data_samples=batch['data_samples']
        ),
        spatial_descriptors=lambda images: images,
    )
    runner = SimpleNamespace(model=model, train_dataloader=SimpleNamespace(dataset=joined))
    GroupPriorHook(image_size=(16, 16)).before_train(runner)
    for dataset, count in zip(joined.datasets, (2, 3)):
        assert len(dataset.priors) == count
        values = {value for prior in dataset.priors.values() for value in prior.flat}
        assert values == {round(25.5 * count)}
