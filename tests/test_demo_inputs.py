import numpy as np
import pytest
import torch
from demo_inputs import make_group_batch, write_tiny_dataset
from PIL import Image

from mmcoseg.datasets import CoSegDataset
from mmcoseg.models.data_preprocessor import GroupDataPreprocessor
from mmcoseg.structures import group_sizes_of


@pytest.mark.parametrize('num_foreground', [1, 2, 3])
def test_batch_has_the_form_of_group_collate(num_foreground):
    batch = make_group_batch((3, 1), size=(20, 28), num_foreground=num_foreground)
    assert group_sizes_of(batch['data_samples']) == [3, 1]
    assert GroupDataPreprocessor()(batch)['inputs'].batch().shape == (4, 3, 20, 28)
    for group in batch['data_samples']:
        assert len(group.label_ids) == num_foreground
        for sample in group:
            mask = sample.gt_sem_seg.data[0]
            assert mask.unique().tolist() == list(range(num_foreground + 1))
            instances = sample.gt_instances
            assert torch.equal(instances.masks.any(0), mask > 0)
            assert sorted(instances.labels.tolist()) == list(group.label_ids)


def test_batch_is_a_function_of_the_seed():
    first, again, other = (make_group_batch(seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first['inputs'][0][0], again['inputs'][0][0])
    assert not torch.equal(first['inputs'][0][0], other['inputs'][0][0])


def test_objects_are_brighter_in_one_channel():
    batch = make_group_batch((1, 1), size=(16, 16))
    for channel in (0, 1):
        mask = batch['data_samples'][channel][0].gt_sem_seg.data[0] == 1
        image = batch['inputs'][channel][0].float()
        assert image[channel][mask].min() >= 130 > image[channel][~mask].max()


def test_original_shape_is_only_said():
    sample = make_group_batch((1,), size=(16, 16), ori_shape=(50, 40))['data_samples'][0][0]
    assert sample.ori_shape == (50, 40)
    assert sample.img_shape == (16, 16)


def test_a_color_channel_a_class_is_all_there_is():
    with pytest.raises(ValueError, match='from 1 to 3 .* got 4'):
        make_group_batch(num_foreground=4, num_classes=9)


def test_tiny_dataset_is_read_by_the_data_set(tmp_path):
    root = write_tiny_dataset(tmp_path / 'set', dict(b=2, a=3), foreground=255)
    dataset = CoSegDataset(data_root=str(root), test_mode=True)
    records = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [(r['group'], len(r['images'])) for r in records] == [('a', 3), ('b', 2)]
    mask = np.asarray(Image.open(records[0]['images'][0]['seg_map_path']))
    assert mask.shape == (24, 32)
    assert set(np.unique(mask)) == {0, 255}
    assert np.asarray(Image.open(records[0]['images'][1]['img_path'])).shape == (32, 24, 3)


def test_tiny_dataset_with_several_classes(tmp_path):
    root = write_tiny_dataset(tmp_path, dict(a=1), num_foreground=2)
    assert set(np.unique(np.asarray(Image.open(root / 'masks/a/000.png')))) == {0, 1, 2}
