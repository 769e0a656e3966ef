import json

import pytest

from mmcoseg.evaluation import MaskReport


@pytest.fixture
def report():
    report = MaskReport()
    for group, stem, score in [
        ('dog', '001', (1.0, 1.0)),
        ('cat', '002', (0.7, 0.5)),
        ('cat', '001', (0.9, 0.3)),
    ]:
        report.add(group, stem, score, f'{group}/{stem}.jpg')
    return report


def test_means_by_hand(report):
    assert report.summary() == pytest.approx(dict(P=90, J=70, P_image=260 / 3, J_image=60))
    assert list(report.group_scores()) == ['cat', 'dog']
    assert report.group_scores()['cat'] == pytest.approx((2, 80, 40))


def test_an_image_that_comes_twice_counts_once(report):
    before = report.summary()
    report.add('cat', '001', (0.9, 0.3), 'cat/001.jpg')
    assert report.summary() == before and len(report) == 3
    with pytest.raises(ValueError, match='cat/001.jpg and other/001.jpg'):
        report.add('cat', '001', (0.9, 0.3), 'other/001.jpg')


def test_table_has_a_row_a_class_and_two_means(report):
    table = report.table('protocol native')
    rows = [line.strip('│').split('│') for line in table.splitlines() if '│' in line]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert cells == [
        ['class', 'images', 'P', 'J'],
        ['cat', '2', '80.00', '40.00'],
        ['dog', '1', '100.00', '100.00'],
        ['class mean', '3', '90.00', '70.00'],
        ['image mean', '3', '86.67', '60.00'],
    ]
    assert 'protocol native' in table


def test_names_are_printed_as_they_are():
    report = MaskReport()
    report.add('[red]car ' + 'x' * 90, '1', (1, 1))
    assert '[red]car ' + 'x' * 90 in report.table()


def test_without_images_means_are_undefined():
    report = MaskReport()
    assert all(value != value for value in report.summary().values())
    assert 'class mean' in report.table()


def test_plain_types(report):
    content = json.loads(json.dumps(report.to_dict()))
    assert content['groups']['cat']['images'] == {
        'cat/001': {'P': 90.0, 'J': 30.0},
        'cat/002': {'P': 70.0, 'J': 50.0},
    }
    assert content['num_images'] == 3
