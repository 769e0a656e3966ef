"""The journal: nothing that was said is lost, whenever the program is killed."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from mmcoseg.errors import MMCosegError
from mmcoseg.review.decisions import TO_DRAW, decide, image_keys
from mmcoseg.review.journal import Journal

CLICK = dict(click=[3, 4], object=True)


def hint(image='a', **entry):
    return dict(hint=entry or CLICK, group='g', image=image)


def decision(state, *images, mask=None):
    return dict(decide=state, group='g', images=dict.fromkeys(images, mask))


def test_undo_and_redo_survive_a_restart(tmp_path):
    file = tmp_path / 'folder' / 'journal.jsonl'
    journal = Journal(file)
    assert journal.undo() is None and journal.redo() is None and not file.exists()
    for image in 'abc':
        journal.add(hint(image))
    assert journal.undo() == hint('c')
    assert journal.undo() == hint('b')
    assert journal.redo() == hint('b')
    again = Journal(file)
    assert again.actions == [hint('a'), hint('b')] and again.undone == [hint('c')]
    assert again.redo() == hint('c')
    again.undo()
    again.add(hint('d'))
    assert again.redo() is None
    assert Journal(file).actions == [hint('a'), hint('b'), hint('d')]


def test_a_line_that_was_not_finished_does_not_count(tmp_path):
    file = tmp_path / 'journal.jsonl'
    journal = Journal(file)
    journal.add(hint('a'))
    whole = file.read_bytes()
    journal.add(hint('b'))
    content = file.read_bytes()
    for length in range(len(whole), len(content)):
        file.write_bytes(content[:length])
        cut = Journal(file)
        assert cut.actions == [hint('a')]
        cut.add(hint('c'))
        assert Journal(file).actions == [hint('a'), hint('c')]


@pytest.mark.parametrize('line', ['nonsense', '{}', '[]', '{"redo": true}', '{"version": 2}'])
def test_a_damaged_line_is_named(tmp_path, line):
    file = tmp_path / 'journal.jsonl'
    Journal(file).add(hint())
    file.write_text(f'{file.read_text()}{line}\n')
    with pytest.raises(MMCosegError, match=r'journal\.jsonl: line 3 cannot be read'):
        Journal(file)


def test_what_was_acknowledged_survives_a_kill(tmp_path):
    file = tmp_path / 'journal.jsonl'
    program = (
        'import sys\n'
        'from mmcoseg.review.journal import Journal\n'
        'journal = Journal(sys.argv[1])\n'
        'for number in range(10**6):\n'
        '    journal.add(dict(hint=number, group="g", image="a"))\n'
        '    print(number, flush=True)\n'
    )
    process = subprocess.Popen([sys.executable, '-c', program, file], stdout=subprocess.PIPE)
    for _ in range(20):
        process.stdout.readline()
    time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    acknowledged = 20 + len(process.stdout.read().split(b'\n')) - 1
    process.wait()
    kept = [action['hint'] for action in Journal(file).actions]
    assert kept == list(range(len(kept))) and len(kept) >= acknowledged


def test_decisions():
    actions = [hint('a'), decision('accepted', 'a', 'b', mask='x'), hint('b', absent=True)]
    found = decide(actions)
    assert found['g', 'a'].shown == 'corrected' and found['g', 'a'].mask == 'x'
    assert found['g', 'b'].shown == 'unseen' and found['g', 'b'].mask is None
    assert found['g', 'b'].hints == [dict(absent=True)]
    assert decide([*actions, decision('accepted', 'c')])['g', 'c'].shown == 'accepted'
    assert decide([*actions, decision('rejected', 'a')])['g', 'a'].shown == 'rejected'
    again = decide([*actions, decision('corrected', 'b', mask='y')])['g', 'b']
    assert again.shown == 'corrected' and again.mask == 'y' and again.hints[1] == {'example': 'y'}
    assert image_keys(actions[0]) == [('g', 'a')]
    assert image_keys(actions[1]) == [('g', 'a'), ('g', 'b')]


def test_masks_that_are_drawn_after_they_were_accepted(tmp_path):
    journal = Journal(tmp_path / 'journal.jsonl')
    journal.add(decision('accepted', 'a', 'b', mask=TO_DRAW))
    journal.add(decision('rejected', 'b'))
    assert not decide(journal.actions)['g', 'a'].is_settled
    journal.add_drawn('g', dict(a='x'))
    for again in (journal, Journal(journal.file)):
        found = decide(again.actions)['g', 'a']
        assert found.is_settled and found.mask == 'x'
    journal.undo()
    assert decide(journal.actions)['g', 'b'].mask == TO_DRAW
    journal.add_drawn('g', dict(b=None))
    journal.undo()
    journal.redo()
    found = decide(journal.actions)
    assert (found['g', 'a'].mask, found['g', 'b'].mask) == ('x', None)
    journal.redo()
    assert decide(journal.actions)['g', 'b'].state == 'rejected'


def test_the_file_can_be_read_by_people(tmp_path):
    journal = Journal(tmp_path / 'journal.jsonl')
    journal.add(decision('left out', 'b'))
    journal.undo()
    lines = [json.loads(line) for line in journal.file.read_text().splitlines()]
    assert lines == [dict(version=1), dict(do=decision('left out', 'b')), dict(undo=True)]
