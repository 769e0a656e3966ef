"""The files of results follow what people said, a little later."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from mmengine.structures import InstanceData, PixelData
from pycocotools import mask as coco_mask

from ..datasets.image_io import BadImageError, image_of
from ..models.postprocessors import InstancesFromMask
from ..structures import CoSegDataSample, GroupDataSample
from .group_bench import GroupBench, ReviewedImage
from .results import Results, labels_of_png

__all__ = ['ResultsUpdater']

#: Images after which the state of a group is stored, at most.
_BATCH = 50


class ResultsUpdater:
    """Writes masks, pictures and records of images whose masks or states have changed."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self._unsaved: dict[str, int] = {}

    def write_next(self, benches: Sequence[GroupBench]) -> bool:
        """Write one image that is not written yet; False if there is none."""
        for bench in benches:
            for image in bench.images:
                if self.write(bench, image):
                    if self._unsaved.get(bench.name, 0) >= _BATCH:
                        self.save(bench)
                    return True
            self.save(bench)
        return False

    @property
    def has_unsaved(self) -> bool:
        """Whether some records are not stored yet."""
        return bool(self._unsaved)

    def save(self, bench: GroupBench) -> None:
        """Store the records of a group, if some have changed."""
        if self._unsaved.pop(bench.name, 0):
            self.results.save(bench.name, [image.finished for image in bench.images])

    def assemble(self, finish: bool = False) -> None:
        """Write annotations, summary and report anew, if something has changed."""
        self.results.assemble(finish)

    def write(self, bench: GroupBench, image: ReviewedImage) -> bool:
        """Write an image, if its mask is known and its files are not what was said."""
        if not image.unwritten or bench.outdated or bench.needs_drawing(image):
            return False
        image.unwritten = False
        decision = image.decision
        as_found = bench.is_first(image) or decision.state == 'left out'
        record = image.finished.record
        if not as_found or self.results.was_overwritten(image.finished):
            try:
                record = self._write_files(bench, image)
            except (BadImageError, OSError) as error:
                text = f'its files could not be written: {error}'
                record = replace(record, warnings=[*record.warnings, text])
        record = replace(record, review=decision.shown, seconds=image.finished.record.seconds)
        image.finished = replace(image.finished, record=record)
        self._unsaved[bench.name] = self._unsaved.get(bench.name, 0) + 1
        return True

    def _write_files(self, bench: GroupBench, image: ReviewedImage):
        sample = bench.sample_of(image)
        pixels = image_of(sample)  # before anything is overwritten
        self.results.keep_first(image.finished)
        labels = self._labels(bench, image)
        sample.pred_sem_seg = PixelData(data=torch.from_numpy(labels.copy())[None])
        if image.decision.state == 'rejected':
            sample.set_metainfo(dict(absent=True))
            sample.presence = 0.0
        if bench.has_instances:
            self._add_instances(bench, image, sample)
        return self.results.writer.write_image(sample, pixels)

    def _labels(self, bench: GroupBench, image: ReviewedImage) -> np.ndarray:
        if image.drawn is not None:
            return labels_of_png(image.drawn)
        return self.results.first_mask(image.finished)

    def _add_instances(
        self, bench: GroupBench, image: ReviewedImage, sample: CoSegDataSample
    ) -> None:
        if not bench.is_first(image):
            InstancesFromMask()(GroupDataSample([sample], metainfo=dict(label_ids=())))
            return
        found = self.results.first_annotations(image.finished)
        masks = [coco_mask.decode(annotation['segmentation']) for annotation in found]
        shape = (len(found), *image.size)
        # Scores of records are multiplied by the presence already.
        presence = max(float(sample.get('presence', 1.0)), 1e-6)
        sample.pred_instances = InstanceData(
            masks=torch.from_numpy(np.stack(masks) if masks else np.zeros(shape, np.uint8)).bool(),
            labels=torch.tensor([annotation['label'] - 1 for annotation in found]),
            scores=torch.tensor([annotation['score'] / presence for annotation in found]),
        )
