import pytest

from mmcoseg.structures import CoSegDataSample, GroupDataSample


def group_of(count=4):
    samples = [CoSegDataSample(metainfo=dict(group='g', stem=str(i))) for i in range(count)]
    return GroupDataSample(samples, metainfo=dict(group='g', label_ids=(2,), num_classes=3))


def test_a_selection_holds_the_same_samples():
    group = group_of()
    some = group.select([3, 1, 3])
    assert type(some) is GroupDataSample
    assert [sample.stem for sample in some] == ['3', '1', '3']
    assert some[0] is group[3] and some[1] is group[1]
    assert [sample.stem for sample in group] == ['0', '1', '2', '3']
    assert len(group.select([])) == 0


def test_a_selection_knows_what_is_known_of_the_group():
    group = group_of()
    some = group.select(range(2))
    assert (some.group, some.label_ids, some.num_classes) == ('g', (2,), 3)
    # What a part is told is not told to the whole.
    some.set_metainfo(dict(class_count=5))
    assert 'class_count' not in group
    some[0].presence = 0.5
    assert group[0].presence == 0.5


def test_an_image_that_is_not_there():
    with pytest.raises(IndexError):
        group_of().select([4])
