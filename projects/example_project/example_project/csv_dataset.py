"""A type of group data set of a third party."""

import csv
from pathlib import Path

from mmcoseg.datasets import CoSegDataset
from mmcoseg.registry import DATASETS

__all__ = ['CSVCoSegDataset']


@DATASETS.register_module()
class CSVCoSegDataset(CoSegDataset):
    """Groups listed in ``<data_root>/groups.csv``: one line ``group,image,mask`` an image.

    Paths are below ``data_root``; an empty mask means that there is none. Choosing groups, classes
    and folds is inherited.
    """

    def load_data_list(self) -> list[dict]:
        """One record a group; docs/architecture.md says what belongs into it."""
        root = Path(self.data_root)
        rows: dict[str, list[tuple[str, str]]] = {}
        with open(root / 'groups.csv', newline='', encoding='utf-8') as file:
            for group, image, mask in csv.reader(file):
                rows.setdefault(group, []).append((image, mask))
        names = self.select(sorted(rows), root)
        self.name_classes(names)
        records = []
        for name in names:
            common = dict(group=name, label_ids=self.label_ids_of(name))
            images = []
            for image, mask in rows[name]:
                paths = dict(img_path=str(root / image), stem=Path(image).stem)
                paths['seg_map_path'] = str(root / mask) if mask else None
                images.append({**common, **paths})
            records.append(dict(category=name, images=images, **common))
        return records
