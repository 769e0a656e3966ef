"""Proposals and published priors in the pipeline, and the tool that computes them ahead."""

import runpy
import subprocess
import sys

import cv2
import numpy as np
import pytest
from demo_inputs import write_tiny_dataset
from scipy.io import savemat

from mmcoseg.datasets import CoSegDataset
from mmcoseg.datasets.transforms import priors
from mmcoseg.proposals import combinatorial_grouping
from mmcoseg.registry import TRANSFORMS
from mmcoseg.structures import Proposals

LOAD = dict(type='LoadCoSegImage')
RESIZE = dict(type='Resize', scale=(48, 48), keep_ratio=False)


def dataset(root, *transforms):
    pipeline = [
        dict(type='ForEachImage', transforms=list(transforms)),
        dict(type='PackGroupInputs'),
    ]
    return CoSegDataset(data_root=str(root), pipeline=pipeline, test_mode=True)


@pytest.fixture
def tiny(tmp_path):
    write_tiny_dataset(tmp_path / 'data')
    return tmp_path / 'data'


def test_become_the_samples_proposals_at_the_files_size(tiny):
    packed = dataset(tiny, LOAD, dict(type='ComputeProposals', max_proposals=40), RESIZE)[0]
    for sample in packed['data_samples']:
        expected = combinatorial_grouping(cv2.imread(sample.img_path), max_proposals=40)
        assert 1 < len(sample.proposals) == len(expected) <= 40
        masks = sample.proposals[:3].masks()
        assert tuple(masks.shape[1:]) == tuple(sample.ori_shape)
        np.testing.assert_array_equal(masks, expected[:3].masks())
        np.testing.assert_array_equal(sample.proposals.scores, expected.scores)


def test_proposals_before_the_size_changes_only(tiny):
    with pytest.raises(ValueError, match='put ComputeProposals before'):
        dataset(tiny, LOAD, RESIZE, dict(type='ComputeProposals'))[0]


def test_cached_results_are_the_same_and_not_computed_again(tiny, tmp_path, monkeypatch):
    cached = dict(cache_dir=str(tmp_path / 'cache'))
    kinds = [dict(type='ComputeProposals', max_proposals=30), dict(type='ComputeSaliency')]
    plain = dataset(tiny, LOAD, *kinds)[0]['data_samples']
    kept = dataset(tiny, LOAD, *(dict(kind, **cached) for kind in kinds))
    first = kept[0]['data_samples']
    monkeypatch.setattr(priors, 'combinatorial_grouping', None)
    monkeypatch.setattr(priors, 'fused_saliency', None)
    for one, two, three in zip(plain, first, kept[0]['data_samples']):
        for other in (two, three):
            np.testing.assert_array_equal(one.proposals.masks(), other.proposals.masks())
            np.testing.assert_array_equal(one.proposals.scores, other.proposals.scores)
            np.testing.assert_array_equal(one.saliency.data, other.saliency.data)


def test_reads_the_published_files_that_records_name(tmp_path):
    masks = np.zeros((6, 8, 2), np.uint8)
    masks[1:3, 2:5, 0] = masks[3:5, 1:7, 1] = 1
    (tmp_path / 'cat').mkdir()
    savemat(
        tmp_path / 'cat' / '01.mat',
        dict(masks=masks, scores=np.array([[0.2], [0.9]]), SalMap=masks[..., 0] * 255),
    )
    record = dict(img_path='01.jpg', ori_shape=(6, 8), group='cat', stem='01')
    path = str(tmp_path / 'cat' / '01.mat')
    load = TRANSFORMS.build(dict(type='LoadProposals'))
    found = load(dict(record, proposals_path=path))
    assert isinstance(found['proposals'], Proposals)
    np.testing.assert_array_equal(found['proposals'].masks(), masks.transpose(2, 0, 1)[::-1] > 0)
    saliency = TRANSFORMS.build(dict(type='LoadSaliency', size=(8, 6)))
    prior = saliency(dict(record, saliency_path=path))['saliency_map']
    assert prior.dtype == np.uint8
    np.testing.assert_array_equal(prior, masks[..., 0] * 255)
    with pytest.raises(ValueError, match='no proposals_path; name the file in instances.json'):
        load(dict(record))


@pytest.mark.slow
def test_tool_fills_the_cache_that_the_pipeline_reads(
    tiny, tmp_path, repo, repo_env, monkeypatch, capsys
):
    cache = tmp_path / 'cache'
    command = [sys.executable, repo / 'tools/misc/precompute_priors.py', tiny / 'images']
    command += ['--cache-dir', cache, '--max-proposals', '30', '--jobs', '2']
    first = subprocess.run(command, env=repo_env, capture_output=True, text=True, timeout=300)
    assert first.returncode == 0, first.stderr
    assert 'have their proposals and saliency' in first.stdout
    written = {path: path.stat().st_mtime_ns for path in cache.rglob('*.npz')}
    images = list((tiny / 'images').glob('*/*'))
    assert len(written) == 2 * len({image.read_bytes() for image in images})
    monkeypatch.setattr(priors, 'combinatorial_grouping', None)
    monkeypatch.setattr(priors, 'fused_saliency', None)
    kept = dict(cache_dir=str(cache))
    kinds = (
        dict(type='ComputeProposals', max_proposals=30, **kept),
        dict(type='ComputeSaliency', **kept),
    )
    assert len(dataset(tiny, LOAD, *kinds, RESIZE)[0]['data_samples'][0].proposals) > 1
    # A stopped run goes on; a broken image is named and does not stop the others.
    gone = sorted(written)[0]
    gone.unlink()
    (tiny / 'images' / 'broken.jpg').write_bytes(b'no image')
    monkeypatch.undo()
    tool = runpy.run_path(str(command[1]))
    assert tool['main']([str(word) for word in command[2:-1]] + ['1']) == 1
    assert 'broken.jpg cannot be read' in capsys.readouterr().err
    again = {path: path.stat().st_mtime_ns for path in cache.rglob('*.npz')}
    assert {path for path in again if again[path] != written[path]} == {gone}
    assert set(again) == set(written)


def test_large_images_are_made_smaller_but_masks_are_not(tiny):
    step = dict(type='ComputeProposals', max_proposals=20, max_side=20)
    for sample in dataset(tiny, LOAD, step, RESIZE)[0]['data_samples']:
        height, width = sample.ori_shape
        small = [round(side * 20 / max(height, width)) for side in (height, width)]
        assert list(sample.proposals.superpixels.shape) == small
        image = cv2.imread(sample.img_path)
        shrunk = cv2.resize(image, tuple(small[::-1]), interpolation=cv2.INTER_AREA)
        expected = combinatorial_grouping(shrunk, max_proposals=20)
        np.testing.assert_array_equal(sample.proposals.membership, expected.membership)
        masks = sample.proposals[:2].masks()
        assert tuple(masks.shape) == (2, height, width)
        for mask, one in zip(masks, expected[:2].masks()):
            enlarged = cv2.resize(one.astype(np.uint8), (width, height), interpolation=0)
            assert (mask == enlarged).mean() > 0.9
    with pytest.raises(ValueError, match='max_side'):
        TRANSFORMS.build(dict(step, max_side=0))
