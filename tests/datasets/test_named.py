import pytest
from demo_inputs import write_tiny_dataset

from mmcoseg.datasets import ICoseg8Dataset, InternetDataset, MSRC7Dataset, PASCALCoSegDataset
from mmcoseg.registry import DATASETS

NUMBERS = {MSRC7Dataset: 7, InternetDataset: 3, ICoseg8Dataset: 8, PASCALCoSegDataset: 20}


@pytest.mark.parametrize(('cls', 'count'), NUMBERS.items())
def test_classes_are_those_published(tmp_path, cls, count):
    classes = cls.METAINFO['classes']
    assert len(classes) == len(set(classes)) == count
    assert DATASETS.get(cls.__name__) is cls
    write_tiny_dataset(tmp_path, groups={classes[1]: 2, 'something else': 2})
    with pytest.warns(UserWarning, match='something else left out'):
        dataset = cls(str(tmp_path), test_mode=True)
    assert len(dataset) == 1
    assert dataset.metainfo['classes'] == classes
    assert dataset.get_data_info(0)['label_ids'] == (1,)
    with pytest.raises(ValueError, match='no group'):
        cls(str(tmp_path), groups=['something else'], test_mode=True)


@pytest.mark.parametrize('cls', NUMBERS)
def test_a_missing_set_says_where_it_comes_from(tmp_path, cls, repo):
    with pytest.raises(FileNotFoundError) as error:
        cls(str(tmp_path / 'none'))
    converter = f'tools/dataset_converters/{cls.CONVERTER}.py'
    assert converter in str(error.value) and 'http' in str(error.value)
    assert (repo / converter).is_file()
    write_tiny_dataset(tmp_path, groups={'zebra': 2})
    with pytest.raises(ValueError, match=f'none of the groups of {cls.__name__}'):
        cls(str(tmp_path))


def test_photographs_are_the_pascal_set(coseg_data):
    dataset = PASCALCoSegDataset(str(coseg_data / 'pascal_coseg'), test_mode=True)
    assert len(dataset) == 10 or len(dataset) == 20
