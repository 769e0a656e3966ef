import json

import numpy as np
import pytest
from PIL import Image

from mmcoseg.evaluation import evaluate_folders, image_scores


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


@pytest.mark.parametrize('num_workers', [0, 2])
def test_scores_of_files(folders, capsys, tmp_path, num_workers):
    pred, gt, scores = folders
    out = tmp_path / 'scores' / 'all.json'
    report = evaluate_folders(pred, gt, num_workers=num_workers, out_file=out)
    assert dict(report.images()) == scores
    assert 'class mean' in capsys.readouterr().out
    content = json.loads(out.read_text())['native']
    assert content['groups']['dog']['images']['dog/001']['J'] == 100 * scores['dog/001'][1]


def test_folders_of_groups_and_a_choice_of_them(folders, capsys):
    pred, gt, scores = folders
    report = evaluate_folders(pred / 'masks', gt / 'masks', groups=['dog'], verbose=False)
    assert dict(report.images()) == {'dog/001': scores['dog/001']}
    assert not capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match=r"no groups \['cow'\]; it has \['cat', 'dog'\]"):
        evaluate_folders(pred, gt, groups=['cow'])


def test_everything_missing_is_named(folders):
    pred, gt, _ = folders
    for name in ('cat/002', 'dog/001'):
        (pred / 'masks' / f'{name}.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'2 of 3 .*cat/002\.png, .*dog/001\.png'):
        evaluate_folders(pred, gt)
    with pytest.raises(FileNotFoundError, match='nowhere is not a folder'):
        evaluate_folders(pred / 'nowhere', gt)
    with pytest.raises(FileNotFoundError, match='holds no masks'):
        evaluate_folders(pred, gt / 'masks' / 'cat')


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
        evaluate_folders(pred, gt, groups=['cat'], verbose=False)
    report = evaluate_folders(pred, gt, groups=['cat'], values='threshold', verbose=False)
    assert dict(report.images()) == {name: scores[name] for name in ('cat/001', 'cat/002')}


def test_prediction_of_another_size_is_named(folders):
    pred, gt, _ = folders
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(pred / 'masks/cat/001.png')
    with pytest.raises(ValueError, match=r'pred/masks/cat/001\.png is 5 x 6, .* is 20 x 30'):
        evaluate_folders(pred, gt, verbose=False)
