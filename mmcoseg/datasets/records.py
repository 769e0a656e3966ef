"""What group records must hold, checked once when a data set is read."""

from collections.abc import Sequence

from ..errors import MMCosegError

__all__ = ['check_records']


def check_records(records: Sequence[dict], who: str) -> None:
    """Refuse group records, see docs/architecture.md, that transforms or tables would stumble over.

    Images that are no dicts, since the data set ``who`` makes their records on the fly, are not
    looked at. Errors name the class, the record and the key.
    """
    for place, record in enumerate(records):
        where = f'{who}: group record {place}'
        _require(record, ('group', 'images', 'label_ids'), where)
        where = f'{where} ({record["group"]!r})'
        if not len(record['images']):
            raise MMCosegError(f'{where} has no images; leave the group out')
        if isinstance(record['images'][0], dict):
            _check_images(record['images'], where)


def _check_images(images: Sequence[dict], where: str) -> None:
    seen: dict[str, int] = {}
    for number, image in enumerate(images):
        here = f'{where}, image {number}'
        _require(image, ('group', 'stem', 'label_ids'), here)
        if all(image.get(key) is None for key in ('img_path', 'ori_img', 'render')):
            raise MMCosegError(f'{here} has no img_path, and no ori_img or render in its place')
        first = seen.setdefault(image['stem'], number)
        if first != number:
            raise MMCosegError(
                f'{here} has the stem {image["stem"]!r}, as image {first}; files and tables go by '
                'group and stem, so give each image of a group its own'
            )


def _require(record: dict, keys: Sequence[str], where: str) -> None:
    missing = sorted(set(keys).difference(record))
    if missing:
        raise MMCosegError(f'{where} has no {missing[0]}; docs/architecture.md lists what it holds')
    ids = record['label_ids']
    if not isinstance(ids, (tuple, list)):
        raise MMCosegError(f'{where}: label_ids must be a tuple of category numbers, got {ids!r}')
