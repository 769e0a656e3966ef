import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData
from PIL import Image

from mmcoseg.datasets.image_io import read_image, read_mask
from mmcoseg.files import file_name_of
from mmcoseg.structures import CoSegDataSample, GroupDataSample
from mmcoseg.visualization import GroupVisualizer, group_visualizer


def make_group(name, count, classes=1):
    samples = []
    for i in range(count):
        sample = CoSegDataSample(metainfo=dict(group=name, stem=f'{i:03d}'))
        mask = torch.zeros(1, 30, 40, dtype=torch.int64)
        mask[:, 5:25, 5:15] = 1
        mask[:, 5:25, 20:30] = classes
        sample.gt_sem_seg = PixelData(data=mask)
        sample.pred_sem_seg = PixelData(data=(mask == 1).to(torch.uint8))
        samples.append(sample)
    return GroupDataSample(samples, metainfo=dict(group=name))


def images(count):
    return [np.full((30, 40, 3), 100, np.uint8)] * count


@pytest.fixture
def drawn(monkeypatch):
    """Arguments of every sheet drawn."""
    calls = []

    def record(entries, title, legend):
        calls.append(dict(entries=entries, title=title, legend=legend))
        return np.zeros((10, 10, 3), np.uint8)

    monkeypatch.setattr(group_visualizer, 'contact_sheet', record)
    return calls


def test_files_are_keyed_by_group(tmp_path, monkeypatch):
    monkeypatch.setattr(group_visualizer, '_IMAGES_A_SHEET', 4)
    visualizer = GroupVisualizer()
    for name, count in {'cat': 9, 'a/b': 2}.items():
        visualizer.add_datasample(name, images(count), make_group(name, count), out_dir=tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(['cat.jpg', 'cat~2.jpg', 'cat~3.jpg', file_name_of('a/b', '.jpg')])
    with Image.open(tmp_path / 'cat.jpg') as sheet:
        assert sheet.width > 300 and sheet.format == 'JPEG'


def test_backends_get_the_sheets(tmp_path):
    visualizer = GroupVisualizer(vis_backends=[dict(type='LocalVisBackend')], save_dir=tmp_path)
    visualizer.add_datasample('cat', images(1), make_group('cat', 1), step=7)
    assert [path.name for path in tmp_path.rglob('*.png')] == ['cat_7.png']


def test_pages_are_of_about_equal_length(drawn):
    GroupVisualizer().draw_group(images(82), make_group('cat', 82))
    assert [len(call['entries']) for call in drawn] == [28, 27, 27]
    assert [call['title'] for call in drawn] == [f'cat  ({i} / 3)' for i in (1, 2, 3)]


def test_what_stands_on_a_sheet(drawn):
    group = make_group('a+b', 3, classes=2)
    group[1].pred_instances = InstanceData(masks=torch.ones(4, 30, 40, dtype=torch.bool))
    del group[2].gt_sem_seg
    GroupVisualizer().draw_group(images(3), group)
    first, second, third = drawn[0]['entries']
    assert first.caption == '000\nJ 100 / 0  P 83'  # 200 of 1,200 pixels wrong
    np.testing.assert_array_equal(first.truth, group[0].gt_sem_seg.data[0])
    assert second.prediction.shape == (4, 30, 40)
    assert third.truth is None and third.caption == '002'
    assert drawn[0]['legend'] == ('a', 'b')

    for sample in group[:2]:
        del sample.gt_sem_seg
    GroupVisualizer().draw_group(images(3), group)
    assert all(e.truth is None and e.caption == e.caption[:3] for e in drawn[1]['entries'])


def test_predicted_classes_have_the_colors_of_the_true_ones(drawn):
    group = make_group('a+b', 3, classes=2)
    truth = group[0].gt_sem_seg.data[0].numpy()
    for sample in group:
        sample.pred_sem_seg.data = torch.from_numpy(np.array([0, 3, 1])[truth][None])
    group[0].pred_sem_seg.data[0, 0] = 2  # nobody's: 40 of 1,200 pixels
    group[1].gt_sem_seg.data[group[1].gt_sem_seg.data == 2] = 255
    del group[2].gt_sem_seg
    GroupVisualizer().draw_group(images(3), group)
    first, second, third = drawn[0]['entries']
    expected = truth.copy()
    expected[0] = 3
    np.testing.assert_array_equal(first.prediction, expected)
    np.testing.assert_array_equal(third.prediction, truth)
    assert first.caption == '000\nJ 100 / 100  P 97'
    assert second.caption == '001\nJ 100 / -  P 100'
    assert third.caption == '002'
    assert drawn[0]['legend'] == ('a', 'b')

    foreground = make_group('a+b', 1, classes=2)
    foreground[0].pred_sem_seg.data = torch.from_numpy(truth[None] == 2)  # bool
    GroupVisualizer().draw_group(images(1), foreground)
    np.testing.assert_array_equal(drawn[1]['entries'][0].prediction, 2 * (truth == 2))

    for sample in group[:2]:
        del sample.gt_sem_seg
    GroupVisualizer().draw_group(images(3), group)
    assert drawn[2]['legend'] == ('class 1', 'class 2', 'class 3')
    assert drawn[2]['entries'][1].prediction.max() == 3  # as they are


def test_classes_have_the_names_that_the_data_set_gives(drawn):
    group = make_group('pets', 1, classes=2)
    visualizer = GroupVisualizer()
    visualizer.draw_group(images(1), group)
    visualizer.dataset_meta = dict(classes=('cat', 'cow', 'dog'))
    group.set_metainfo(dict(label_ids=(2, 0)))
    visualizer.draw_group(images(1), group)
    group[0].pred_sem_seg.data *= 2
    del group[0].gt_sem_seg
    visualizer.draw_group(images(1), group)
    legends = [call['legend'] for call in drawn]
    assert legends == [('class 1', 'class 2'), ('dog', 'cat'), ('class 1', 'class 2')]


def test_binary_masks_need_no_legend(drawn):
    group = make_group('a+b', 1)
    GroupVisualizer().draw_group(images(1), group)
    assert drawn[0]['legend'] == ()
    group[0].pred_sem_seg.data[..., 5:25, 20:30] = 0
    GroupVisualizer().draw_group(images(1), group)
    # 200 of 400 object pixels; 200 of 1,200 wrong
    assert drawn[1]['entries'][0].caption == '000\nJ 50.0  P 83.3'


def test_wrong_number_of_images_is_refused():
    with pytest.raises(ValueError, match='is longer'):
        GroupVisualizer().draw_group(images(2), make_group('cat', 3))


def test_no_sheet_replaces_that_of_another_group(tmp_path, monkeypatch):
    monkeypatch.setattr(group_visualizer, '_IMAGES_A_SHEET', 1)
    backends = [dict(type='LocalVisBackend')]
    visualizer = GroupVisualizer(vis_backends=backends, save_dir=tmp_path / 'backend')
    for name, count in {'cat': 3, 'cat~2': 1, 'cat~3': 2}.items():
        group = make_group(name, count)
        visualizer.add_datasample(name, images(count), group, out_dir=tmp_path / 'sheets')
    assert len(list((tmp_path / 'sheets').iterdir())) == 6
    assert len(list((tmp_path / 'backend').rglob('*.png'))) == 6


def test_photographs(coseg_data, tmp_path):
    root = coseg_data / 'voc_multiclass'
    files = sorted((root / 'images' / 'car+person').iterdir())[:4]
    group = make_group('car+person', len(files))
    for file, sample in zip(files, group, strict=True):
        mask = read_mask(root / 'masks' / 'car+person' / f'{file.stem}.png')
        sample.gt_sem_seg = PixelData(data=torch.from_numpy(mask[None].astype(np.int64)))
    pictures = [read_image(file)[..., ::-1] for file in files]
    GroupVisualizer().add_datasample('car+person', pictures, group, out_dir=tmp_path)
    with Image.open(tmp_path / 'car+person.jpg') as sheet:
        assert 600 < sheet.width <= 1400 and sheet.height < 800
