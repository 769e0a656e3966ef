import json

import numpy as np
import pytest
from PIL import Image

from mmcoseg.cli import main
from mmcoseg.errors import MMCosegError
from mmcoseg.evaluation import (
    ClassReport,
    count_labels,
    evaluate_classes,
    evaluate_masks,
    hold_classes,
    image_scores,
)


@pytest.fixture
def folders(tmp_path):
    """Ground truth of 0/255 and predictions of 0/1 in the canonical layout."""
    rng = np.random.default_rng(0)
    scores = {}
    for group, stems in dict(cat=('001', '002'), dog=('001',)).items():
        for stem in stems:
            gt, pred = rng.random((2, 20, 30)) < 0.5
            for root, mask in (('gt', gt * np.uint8(255)), ('pred', pred.astype(np.uint8))):
                file = tmp_path / root / 'masks' / group / f'{stem}.png'
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask).save(file)
            scores[f'{group}/{stem}'] = image_scores(pred, gt)
    return tmp_path / 'pred', tmp_path / 'gt', scores


def test_scores_of_files(folders, capsys, tmp_path):
    pred, gt, scores = folders
    report = evaluate_masks(pred, gt)
    assert dict(report.images()) == scores
    assert not capsys.readouterr().out
    out = tmp_path / 'scores' / 'all.json'
    assert main(['evaluate', 'masks', str(pred), str(gt), '--json', str(out)]) == 0
    assert report.table('protocol native') in capsys.readouterr().out
    content = json.loads(out.read_text())
    assert content == dict(native=report.to_dict())
    image = content['native']['groups']['dog']['images']['dog/001']
    assert image['J'] == 100 * scores['dog/001'][1]


def test_folders_of_groups_and_a_choice_of_them(folders):
    pred, gt, scores = folders
    report = evaluate_masks(pred / 'masks', gt / 'masks', groups=['dog'])
    assert dict(report.images()) == {'dog/001': scores['dog/001']}
    with pytest.raises(MMCosegError, match=r"no group \['cow'\]; it has \['cat', 'dog'\]"):
        evaluate_masks(pred, gt, groups=['cow'])
    with pytest.raises(MMCosegError, match="missing must be one of .*'error', 'empty'.* got 'no'"):
        evaluate_masks(pred, gt, missing='no')


def test_files_that_only_differ_in_their_suffix_are_named(folders):
    pred, gt, scores = folders
    mask = Image.new('L', (30, 20), 255)
    mask.save(pred / 'masks' / 'cat' / '001.bmp')
    mask.save(gt / 'masks' / 'dog' / '001.PNG')
    mask.save(pred / 'masks' / 'cat' / 'other.bmp')  # of no true mask
    with pytest.warns(UserWarning, match='are not looked at') as said:
        report = evaluate_masks(pred, gt)
    assert dict(report.images()) == scores
    texts = [str(warning.message) for warning in said]
    assert [text.split()[0].rsplit('/', 2)[1:] for text in texts] == [
        ['cat', '001.bmp'],
        ['dog', '001.PNG'],
    ]
    assert not any('other' in text for text in texts)


def test_everything_missing_is_named(folders):
    pred, gt, _ = folders
    for name in ('cat/002', 'dog/001'):
        (pred / 'masks' / f'{name}.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'2 of 3 .*cat/002\.png, .*dog/001\.png'):
        evaluate_masks(pred, gt)
    with pytest.raises(FileNotFoundError, match='nowhere is not a folder'):
        evaluate_masks(pred / 'nowhere', gt)
    with pytest.raises(FileNotFoundError, match='holds no masks'):
        evaluate_masks(pred, gt / 'masks' / 'cat')


def test_smoothed_masks_are_scored_as_one_says(folders):
    pred, gt, scores = folders
    for root, high in ((pred, 1), (gt, 255)):
        mask = root / 'masks/cat/001.png'
        edges = np.where(np.asarray(Image.open(mask)) == high, 255, 0).astype(np.uint8)
        edges[0] = np.where(edges[0] == 255, 191, 64)
        Image.fromarray(edges).save(mask)
        dark = root / 'masks/cat/002.png'
        Image.fromarray(np.uint8(255) * (np.asarray(Image.open(dark)) == high)).save(dark)
    with pytest.raises(ValueError, match=r"cat/001\.png .*values='threshold'"):
        evaluate_masks(pred, gt, groups=['cat'])
    report = evaluate_masks(pred, gt, groups=['cat'], values='threshold')
    assert dict(report.images()) == {name: scores[name] for name in ('cat/001', 'cat/002')}


def test_prediction_of_another_size_is_named(folders):
    pred, gt, _ = folders
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(pred / 'masks/cat/001.png')
    with pytest.raises(
        ValueError,
        match=r'pred/masks/cat/001\.png: the prediction is .5, 6., the ground truth .20, 30.',
    ):
        evaluate_masks(pred, gt)


@pytest.fixture
def class_folders(tmp_path):
    """Masks of several classes, predicted under other numbers, and the report that they have."""
    rng = np.random.default_rng(0)
    report = ClassReport()
    for group, number in {'sofa+dog': 2, 'pets': 3}.items():
        for stem in ('001', '002'):
            gt = rng.integers(0, number + 1, (20, 30)).astype(np.uint8)
            pred = np.where(rng.random(gt.shape) < 0.8, (number + 1 - gt) * (gt > 0), 0)
            pred = pred.astype(np.uint8)
            gt[rng.random(gt.shape) < 0.1] = 255
            for root, mask in (('gt', gt), ('pred', pred)):
                file = tmp_path / root / 'masks' / group / f'{stem}.png'
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask).save(file)
            names = dict(pets=('cat', 'rat', 'bat')).get(group, ())
            source = str(tmp_path / 'gt' / 'masks' / group / f'{stem}.png')
            report.add(group, stem, count_labels(pred, gt), source, names)
    (tmp_path / 'gt' / 'classes.json').write_text(json.dumps(dict(pets=['cat', 'rat', 'bat'])))
    return tmp_path / 'pred', tmp_path / 'gt', report


def test_scores_of_classes(class_folders, capsys, tmp_path):
    pred, gt, expected = class_folders
    report = evaluate_classes(pred, gt)
    assert report.to_dict() == expected.to_dict()
    channels = [c.channel for c in report.group_scores()['pets'].classes]
    assert channels == [3, 2, 1] and report.summary()['J'] > 50
    out = tmp_path / 'scores' / 'all.json'
    assert main(['evaluate', 'classes', str(pred), str(gt), '--json', str(out)]) == 0
    assert json.loads(out.read_text()) == dict(classes=expected.to_dict())
    assert expected.table() in capsys.readouterr().out
    by_pixels = evaluate_classes(pred, gt, over='pixels', groups=['pets'])
    assert by_pixels.over == 'pixels' and list(by_pixels.group_scores()) == ['pets']


def test_a_folder_may_be_called_like_a_kind(class_folders, capsys, monkeypatch):
    pred, gt, expected = class_folders
    monkeypatch.chdir(pred)
    assert main(['evaluate', 'masks', str(gt), '--json', '-']) == 0
    assert json.loads(capsys.readouterr().out) == dict(classes=expected.to_dict())
    assert main(['evaluate', 'masks', 'masks', str(gt), '--json', '-']) == 0
    assert set(json.loads(capsys.readouterr().out)) == {'native'}


def test_missing_predictions_of_classes_are_empty(class_folders):
    pred, gt, _ = class_folders
    (pred / 'masks/pets/001.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'pets/001\.png'):
        evaluate_classes(pred, gt)
    report = evaluate_classes(pred, gt, missing='empty')
    images = report.to_dict()['groups']['pets']['images']
    assert set(images['pets/001']['J'].values()) == {0.0}


def test_255_of_classes(class_folders):
    pred, gt, _ = class_folders
    one = np.full((20, 30), 255, np.uint8)
    one[:10] = 0
    for stem in ('001', '002'):  # of a method that finds one object
        Image.fromarray(one).save(pred / f'masks/sofa+dog/{stem}.png')
    score = evaluate_classes(pred, gt, groups=['sofa+dog']).group_scores()
    found = [c.channel for c in score['sofa+dog'].classes]
    assert sorted(found, key=str) == [1, None]
    for stem in ('001', '002'):
        Image.fromarray(one).save(gt / f'masks/sofa+dog/{stem}.png')
    with pytest.raises(ValueError, match=r"true masks of \['sofa\+dog'\] show no class.*'0-255'"):
        evaluate_classes(pred, gt)
    report = evaluate_classes(pred, gt, groups=['sofa+dog'], values='0-255')
    assert report.summary() == dict(P=100, J=100)
    mixed = np.where(one == 255, 255, 2).astype(np.uint8)
    Image.fromarray(mixed).save(pred / 'masks/pets/001.png')
    with pytest.raises(ValueError, match=r'pred/masks/pets/001\.png: .*no void'):
        evaluate_classes(pred, gt, groups=['pets'])


def test_classes_are_scored_where_there_are_some(class_folders, capsys):
    pred, gt, expected = class_folders
    arguments = ['evaluate', str(pred), str(gt), '--json', '-']

    def scored(*more):
        assert main([*arguments, *more]) == 0
        return json.loads(capsys.readouterr().out)

    assert scored() == dict(classes=expected.to_dict())
    as_masks, as_classes = (['evaluate', kind, *arguments[1:]] for kind in ('masks', 'classes'))
    assert main(as_masks) == 0 and set(json.loads(capsys.readouterr().out)) == {'native'}
    assert main(as_classes) == 0 and set(json.loads(capsys.readouterr().out)) == {'classes'}
    by_pixels = scored('--over', 'pixels', '--absent', 'score')['classes']
    assert (by_pixels['over'], by_pixels['absent']) == ('pixels', 'score')
    assert main(arguments[:-2]) == 0
    text = capsys.readouterr().out
    assert 'matched over each group' in text and 'sofa' in text and 'bat' in text
    (gt / 'classes.json').unlink()
    assert not hold_classes(pred, gt, ['pets'])  # nothing says that its masks have classes
    assert set(scored('--groups', 'pets')) == {'native'}
    for file in (pred / 'masks').rglob('*.png'):
        Image.fromarray((np.asarray(Image.open(file)) > 0).astype(np.uint8)).save(file)
    assert set(scored()) == {'native'}  # the predictions know one object
    assert main(as_classes) == 0 and set(json.loads(capsys.readouterr().out)) == {'classes'}


def test_true_masks_of_another_suffix_are_named(tmp_path):
    for folder in ('pred', 'gt'):
        (tmp_path / folder / 'g').mkdir(parents=True)
        Image.new('L', (8, 8)).save(tmp_path / folder / 'g' / 'a.png')
        Image.new('L', (8, 8)).save(tmp_path / folder / 'g' / 'b.PNG')
    with pytest.warns(UserWarning, match='b.PNG are not looked at') as caught:
        evaluate_masks(tmp_path / 'pred', tmp_path / 'gt')
    assert ['gt/g/b.PNG' in str(warning.message) for warning in caught] == [True]
