"""What the co-attention loss says of true masks, of boxes put at random, and of flat maps.

For each group of several classes, the loss (mean over pairs and classes; log 2 = 0.693 where it
sees no difference) of maps that are not optimized, as the extractor of the offline config sees
them. A loss that leads to objects is lowest for the true masks.

    python benchmarks/co_attention_loss.py DATA [--images 12] [--seed 0]

DATA holds images/<a+b> and masks/<a+b>.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor
from torch.nn import functional as F

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from _table import markdown_table

from mmcoseg.config_files import find_config
from mmcoseg.datasets import MultiClassCoSegDataset
from mmcoseg.models import CoAttentionLoss
from mmcoseg.registry import MODELS, TRANSFORMS

CONFIG = 'mccoseg/mccoseg_efficientnet-lite2'
LOAD = [
    dict(type='LoadCoSegImage'),
    dict(type='LoadCoSegMask', binary=False, values='label'),
]


def true_maps(mask: np.ndarray, num_classes: int, size: int) -> Tensor:
    """Maps (K + 1, size, size), of a mask 0..K, 255 void; void is of no map."""
    one_hot = [torch.from_numpy((mask == k).astype(np.float32)) for k in range(num_classes + 1)]
    return F.interpolate(torch.stack(one_hot)[None], (size, size), mode='area')[0]


def random_boxes(maps: Tensor, rng: np.random.Generator) -> Tensor:
    """For each class a square of its area, anywhere; later classes lie on top."""
    size = maps.shape[-1]
    boxes = torch.zeros_like(maps)
    boxes[0] = 1
    for k in range(1, len(maps)):
        side = round(size * float(maps[k].mean()) ** 0.5)
        top, left = rng.integers(0, size - side + 1, 2)
        boxes[:, top : top + side, left : left + side] = 0
        boxes[k, top : top + side, left : left + side] = 1
    return boxes


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('data')
    parser.add_argument('--images', type=int, default=12, help='of a group, at most')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()

    cfg = Config.fromfile(str(find_config(CONFIG))).model
    size = cfg.extractor_size
    model = MODELS.build(cfg).eval()
    loss = CoAttentionLoss(reduction='mean')
    loaders = [TRANSFORMS.build(step) for step in LOAD]
    dataset = MultiClassCoSegDataset(args.data, test_mode=True)
    rows = []
    for index in range(len(dataset)):
        group = dataset.get_data_info(index)
        rng = np.random.default_rng(args.seed)
        images, kinds = [], {'true masks': [], 'random boxes': [], 'flat maps': []}
        for record in group['images'][: args.images]:
            for load in loaders:
                record = load(record)
            images.append(torch.from_numpy(record['img']).permute(2, 0, 1).contiguous())
            maps = true_maps(record['gt_seg_map'], group['num_classes'], size)
            kinds['true masks'].append(maps)
            kinds['random boxes'].append(random_boxes(maps, rng))
            kinds['flat maps'].append(torch.full_like(maps, 1 / len(maps)))
        inputs = torch.stack(
            [
                F.interpolate(image[None].float(), (size, size), mode='area')[0].byte()
                for image in images
            ]
        )
        inputs = model.data_preprocessor.normalize(inputs, (size, size))
        costs = []
        for maps in kinds.values():
            vectors = model.extract_vectors(inputs, torch.stack(maps))
            costs.append(f'{loss(vectors, [len(inputs)]).item():.3f}')
        rows.append([group['group'], *costs])
    print(markdown_table(['group', *kinds], rows))


if __name__ == '__main__':
    main()
