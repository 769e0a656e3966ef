"""Folders of results of chosen masks, as `mmcoseg segment` writes them."""

import numpy as np
import torch
from mmengine.structures import InstanceData, PixelData
from PIL import Image

from mmcoseg.export import ResultWriter
from mmcoseg.export.run_state import FinishedImage, GroupState, RunState, only_run
from mmcoseg.structures import CoSegDataSample

#: Of all shapes that are hard to write down; masks hold 0 and 1.
HARD = {}
blobs = np.zeros((41, 53), np.uint8)
blobs[5:20, 5:25] = blobs[25:35, 30:48] = 1
blobs[9:14, 9:18] = 0  # a hole
blobs[0, 52] = blobs[40, 0] = 1
pixel = np.zeros((7, 9), np.uint8)
pixel[3, 8] = 1
thin = np.zeros((61, 1), np.uint8)
thin[10:30] = thin[50:] = 1
noise = np.random.default_rng(0).integers(0, 2, (33, 47)).astype(np.uint8)
HARD.update(blobs=blobs, pixel=pixel, thin=thin, flat=thin.T, noise=noise, full=0 * blobs + 1)
HARD.update(empty=0 * blobs, dot=thin[:1] + 1, great=np.eye(300, 340, dtype=np.uint8))

#: Two classes.
double = np.zeros((30, 45), np.uint8)
double[3:20, 2:20], double[10:28, 25:40] = 1, 2
DOUBLE = dict(both=double, second=np.uint8(2) * (double == 2), none=0 * double)

#: Group -> stem -> mask.
GROUPS = {'cat': HARD, 'cat+dog': DOUBLE, 'très drôle ☕': {'à la #1 %41': blobs, 'b': 1 - blobs}}


def picture(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


def make_sample(group, stem, mask, num_classes, photos=None, **metainfo):
    sample = CoSegDataSample(metainfo=dict(group=group, stem=stem, **metainfo))
    sample.pred_sem_seg = PixelData(data=torch.from_numpy(mask)[None])
    prob = np.eye(num_classes + 1, dtype=np.float32)[mask].transpose(2, 0, 1)
    sample.pred_prob = PixelData(data=torch.from_numpy(prob))
    if photos is not None:
        path = photos / group / f'{stem}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(mask.shape)[..., ::-1]).save(path)
        sample.set_metainfo(dict(img_path=str(path)))
    return sample


def add_instances(sample, masks, labels, scores):
    sample.pred_instances = InstanceData(
        masks=torch.from_numpy(masks), labels=torch.tensor(labels), scores=torch.tensor(scores)
    )
    return sample


def write_results(out, samples, formats=('masks',), reviews=None, **options):
    """Write samples with all that a run leaves behind; ``reviews``: stem -> decision."""
    settings = dict(method='made', formats=list(formats))
    writer = ResultWriter(out, formats, **options)
    with only_run(out):
        state = RunState(out, writer, settings)
        by_group = {}
        for sample in samples:
            record = writer.write_image(sample, picture(sample.pred_sem_seg.data.shape[1:]))
            record.review = (reviews or {}).get(sample.stem, 'unseen')
            image = FinishedImage(record.name, [1], record)
            by_group.setdefault(sample.group, []).append(image)
        for group, images in by_group.items():
            state.save(GroupState(group, settings, images))
        state.assemble(finish=True)
    return out


def samples_of(groups, photos=None, **metainfo):
    samples = []
    for group, masks in groups.items():
        num_classes = max(mask.max() for mask in masks.values())
        for stem, mask in masks.items():
            samples.append(make_sample(group, stem, mask, num_classes, photos, **metainfo))
    return samples


def stored(out):
    """Relative path -> content of all files but those of the state and of the report."""
    files = {}
    for path in sorted(out.rglob('*')):
        name = path.relative_to(out)
        if path.is_file() and name.parts[0] != '.mmcoseg' and name.suffix != '.html':
            files[name.as_posix()] = path.read_bytes()
    files.pop('summary.json', None)
    return files
