"""Instances before and after a simulated person points at those that were missed or merged.

The parts of the consensus' masks are the instances. One click is put into the center of each true
instance that no part overlaps by an IoU of one half, and of each that lies in one part with
another. Then the group is segmented anew.

    python benchmarks/hints_instances.py DATA [--threads 2] [--groups NAME ...]

DATA has images/<group>/ and instances.json.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from _table import markdown_table

from mmcoseg.config_files import find_config
from mmcoseg.engine.loops.click_loop import center_of
from mmcoseg.engine.run_config import hand_over_input_size
from mmcoseg.evaluation import InstanceCoSegMetric
from mmcoseg.evaluation.functional import instance_overlaps
from mmcoseg.registry import DATASETS, MODELS
from mmcoseg.structures import Click, CoSegDataSample, GroupDataSample, to_numpy

CONFIG = 'deepco3/consensus_efficientnet-lite2_instances'
STATES = ('no clicks', 'clicks on missed and merged instances')
#: IoU of an instance that was found, and share of an instance that lies in a part.
FOUND, INSIDE = 0.5, 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('data')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--groups', nargs='+')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    init_default_scope('mmcoseg')
    cfg = Config.fromfile(str(find_config(CONFIG)))
    hand_over_input_size(cfg)
    steps = cfg.test_pipeline[0].transforms
    cfg.test_pipeline[0].transforms = [s for s in steps if s.type != 'ComputeProposals']
    options = dict(data_root=args.data, groups=args.groups, pipeline=cfg.test_pipeline)
    dataset = DATASETS.build(dict(cfg.test_dataloader.dataset, **options))
    model = MODELS.build(cfg.model).eval()
    metrics = {state: InstanceCoSegMetric() for state in STATES}
    recalls = {state: {} for state in STATES}
    clicks = {}
    for number in range(len(dataset)):
        item = dataset[number]
        batch = dict(inputs=[item['inputs']], data_samples=[item['data_samples']])
        data = model.data_preprocessor(batch, False)
        [group] = data['data_samples']
        update = model.updater(data['inputs'], group)
        for state in STATES:
            update()
            model.finish(group)
            metrics[state].process(None, [group])
            recalls[state][group.group] = recall(group)
            if state == STATES[0]:
                clicks[group.group] = sum(map(click_on, group))
        print(f'{group.group}: {len(group)} images, {clicks[group.group]} clicks', flush=True)
    rows = []
    for state in STATES:
        report = metrics[state].new_report()
        for records in metrics[state].results:
            for record in records:
                report.add(**record)
        print(report.table(state))
        summary = report.summary()
        mean = float(np.mean(list(recalls[state].values())))
        figures = (summary['mAP_25'], summary['mAP_50'], 100 * mean)
        rows.append((state, *(f'{figure:.1f}' for figure in figures)))
    print(markdown_table(('', 'mAP_25', 'mAP_50', 'recall at 0.5'), rows))
    print(f'\n{sum(clicks.values())} clicks')


def overlaps_of(sample: CoSegDataSample) -> np.ndarray:
    """IoU of each predicted with each true instance, (n, m)."""
    found, true = sample.pred_instances.masks, sample.gt_instances.masks
    return instance_overlaps(to_numpy(found), to_numpy(true))[0]


def recall(group: GroupDataSample) -> float:
    """Share of the true instances that some prediction overlaps by at least one half."""
    found = []
    for sample in group:
        found += (overlaps_of(sample).max(axis=0, initial=0) >= FOUND).tolist()
    return float(np.mean(found))


def click_on(sample: CoSegDataSample) -> int:
    """Put a click on each instance that was missed or merged with another; returns how many."""
    true = to_numpy(sample.gt_instances.masks)
    missed = overlaps_of(sample).max(axis=0, initial=0) < FOUND
    merged = np.zeros(len(true), bool)
    for part in to_numpy(sample.pred_instances.masks):
        inside = (true & part).sum(axis=(1, 2)) >= INSIDE * true.sum(axis=(1, 2))
        if inside.sum() > 1:
            merged |= inside
    hints = [Click(*center_of(mask)) for mask in true[missed | merged]]
    if hints:
        sample.hints = tuple(hints)
    return len(hints)


if __name__ == '__main__':
    main()
