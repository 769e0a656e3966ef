"""Where the maps of whole training groups go."""

from types import SimpleNamespace

import pytest
import torch
from demo_inputs import write_tiny_dataset

from mmcoseg.datasets import ConcatCoSegDataset
from mmcoseg.engine.hooks import GroupMapHook
from mmcoseg.models import GroupDataPreprocessor


class NumberOfImages:
    """A model whose maps are the share of ten that a group has images."""

    def __init__(self, size=(16, 24), gives_maps=True):
        self.data_preprocessor = GroupDataPreprocessor(size=size)
        self.gives_maps = gives_maps
        self.sizes = []
        self.finished = False

    def prepare_training(self, groups):
        for images in groups:
            self.sizes.append(images.size)
            maps = torch.full((len(images), 1, 2, 2), len(images) / 10)
            yield maps if self.gives_maps else None
        self.finished = True


def show(model, dataset):
    runner = SimpleNamespace(model=model, train_dataloader=SimpleNamespace(dataset=dataset))
    GroupMapHook().before_train(runner)
    assert model.finished


def joined_sets(path):
    roots = [
        write_tiny_dataset(path / str(count), dict(bee=count), size=(20, 30)) for count in (2, 3)
    ]
    return ConcatCoSegDataset([dict(type='CoSegDataset', data_root=str(root)) for root in roots])


def test_joined_sets_keep_the_maps_of_groups_of_one_name_apart(tmp_path):
    joined = joined_sets(tmp_path)
    model = NumberOfImages()
    show(model, joined)
    assert model.sizes == [(16, 24)] * 2
    for dataset, count in zip(joined.datasets, (2, 3)):
        assert set(dataset.group_maps) == {f'bee/{number:03}' for number in range(count)}
        values = {value for found in dataset.group_maps.values() for value in found.flat}
        assert values == {round(25.5 * count)}


def test_a_model_may_look_at_the_groups_and_give_no_maps(tmp_path):
    joined = joined_sets(tmp_path)
    model = NumberOfImages(gives_maps=False)
    show(model, joined)
    assert len(model.sizes) == 2
    assert not any(dataset.group_maps for dataset in joined.datasets)


def test_the_size_must_be_known(tmp_path):
    with pytest.raises(ValueError, match=r'set model\.data_preprocessor\.size'):
        show(NumberOfImages(size=None), joined_sets(tmp_path))
