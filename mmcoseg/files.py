"""Names of files, and writing them so that a reader never meets half of one."""

import hashlib
import json
import os
import re
import shutil
import unicodedata
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO

from PIL import Image

__all__ = [
    'copy_file',
    'display_name',
    'file_name_of',
    'named',
    'relative_path',
    'save_image',
    'write_atomically',
    'write_json',
]

#: Bytes of a file's name on common file systems.
_LONGEST_NAME = 255
#: Characters that no file name can hold on some system, or that lead out of the folder.
_FORBIDDEN = re.compile(r'[/\\\0]')
#: Characters that turn the direction of the text around them.
_BIDI = frozenset('\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069')


def file_name_of(name: str, suffix: str = '', reserved: Collection[str] = ()) -> str:
    """The name of a file or folder for a group or image of any name.

    A name that can be one stays as it is, with its spaces, quotes and bytes that are not UTF-8.
    One that cannot (slashes, ``.``, ``..``, nothing, too long, reserved) is changed and gets a
    mark of what it was, so that different names stay different.

    Args:
        suffix: with the dot, of the file.
        reserved: names that mean something else where the file will stand.

    Example:
        >>> file_name_of("what's this", '.png'), file_name_of('../dog')
        ("what's this.png", '.._dog-997e95ec')
    """
    safe = _FORBIDDEN.sub('_', name)
    if safe.strip('.') == '' and not suffix:
        safe += '_'
    fits = len(os.fsencode(safe + suffix)) <= _LONGEST_NAME
    if safe == name and name and fits and safe + suffix not in reserved:
        return safe + suffix
    mark = '-' + hashlib.sha1(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]
    room = _LONGEST_NAME - len(mark) - len(os.fsencode(suffix))
    # Cut between characters, not within one.
    while len(os.fsencode(safe)) > room:
        safe = safe[:-1]
    return f'{safe}{mark}{suffix}'


def display_name(name: str) -> str:
    r"""A name as text that any page and file can hold: what cannot be shown is written out.

    Example:
        >>> display_name('caf\udce9\n')
        'caf\\xe9\\x0a'
    """

    def shown(character: str) -> str:
        code = ord(character)
        if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as Python keeps it
            return f'\\x{code - 0xDC00:02x}'
        hidden = unicodedata.category(character) in ('Cc', 'Cs', 'Zl', 'Zp')
        if hidden or character in _BIDI or code & 0xFFFE == 0xFFFE:
            return f'\\x{code:02x}' if code < 256 else f'\\u{code:04x}'
        return character

    return ''.join(map(shown, name))


def named(names: Sequence[object], most: int = 20) -> str:
    """The first names and the number of the others, for messages."""
    more = len(names) - most
    return ', '.join(map(str, names[:most])) + (f' and {more} more' if more > 0 else '')


def relative_path(file: str | Path, folder: str | Path) -> str:
    """The path of a file as seen from a folder, with slashes; both may be links."""
    file, folder = Path(os.path.realpath(file)), Path(os.path.realpath(folder))
    try:
        return Path(os.path.relpath(file, folder)).as_posix()
    except ValueError:  # on another drive
        return file.as_posix()


@contextmanager
def write_atomically(path: str | Path) -> Iterator[IO[bytes]]:
    """A file to write to, which takes its name only once it is complete. Makes its folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, since renaming between file systems is copying. Its name does not
    # depend on the file's, which may be as long as names can be.
    temporary = path.parent / f'.mmcoseg-{uuid.uuid4().hex[:12]}.tmp'
    try:
        with open(temporary, 'wb') as file:
            yield file
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def save_image(image: Image.Image, path: str | Path, format: str, **options) -> None:
    """Write an image by :func:`write_atomically`; ``format`` and ``options`` as for Pillow."""
    buffer = BytesIO()  # Pillow seeks in what it writes to
    image.save(buffer, format, **options)
    with write_atomically(path) as file:
        file.write(buffer.getbuffer())


def copy_file(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all."""
    with open(source, 'rb') as original, write_atomically(target) as copy:
        shutil.copyfileobj(original, copy)


def write_json(path: str | Path, content: dict | list, indent: int | None = None) -> None:
    """Write plain types, escaped so that names of files that are not UTF-8 can stand in them."""
    with write_atomically(path) as file:
        file.write(json.dumps(content, indent=indent, allow_nan=False).encode())
