"""Records of data sets of third parties that lack something."""

import copy

import pytest

from mmcoseg.datasets import CoSegDataset
from mmcoseg.errors import MMCosegError


class Listed(CoSegDataset):
    """Of group records that are given."""

    def __init__(self, records, **kwargs):
        self.records = records
        super().__init__(data_root='', **kwargs)

    def load_data_list(self):
        self.name_classes(['cat'])
        return copy.deepcopy(self.records)


def records():
    images = [
        dict(img_path=f'{stem}.jpg', seg_map_path=None, group='cat', stem=stem, label_ids=(0,))
        for stem in 'ab'
    ]
    return [dict(group='cat', category='cat', label_ids=(0,), images=images)]


def test_whole_records_are_taken():
    assert len(Listed(records())) == 1
    drawn = records()
    del drawn[0]['category']
    drawn[0]['images'][0] = dict(render=object, group='cat', stem='a', label_ids=[])
    assert Listed(drawn).get_data_info(0)['images'][0]['stem'] == 'a'


@pytest.mark.parametrize('key', ['group', 'images', 'label_ids'])
def test_a_group_record_without_a_key(key):
    wrong = records() + records()
    del wrong[1][key]
    with pytest.raises(ValueError, match=f'^Listed: group record 1 has no {key};'):
        Listed(wrong)


@pytest.mark.parametrize('key', ['group', 'stem', 'label_ids', 'img_path'])
def test_an_image_record_without_a_key(key):
    wrong = records()
    del wrong[0]['images'][1][key]
    with pytest.raises(ValueError, match=f"^Listed: group record 0 .'cat'., image 1 has no {key}"):
        Listed(wrong)


@pytest.mark.parametrize(
    ('where', 'key', 'value', 'error', 'message'),
    [
        ('group', 'images', [], ValueError, 'has no images; leave the group out'),
        ('group', 'label_ids', 0, MMCosegError, 'label_ids must be a tuple of category numbers'),
        ('image', 'label_ids', None, MMCosegError, 'image 1: label_ids must be a tuple'),
        ('image', 'img_path', None, ValueError, 'image 1 has no img_path, and no ori_img'),
        ('image', 'stem', 'a', ValueError, "image 1 has the stem 'a', as image 0"),
    ],
)
def test_values_that_do_not_do(where, key, value, error, message):
    wrong = records()
    record = wrong[0] if where == 'group' else wrong[0]['images'][1]
    record[key] = value
    with pytest.raises(error, match=f'^Listed: group record 0.*{message}'):
        Listed(wrong)


def test_a_record_that_is_no_dict():
    with pytest.raises(MMCosegError, match='^Listed: group record 0 has no group;'):
        Listed(['cat'])
