import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from mmcoseg import workers
from mmcoseg.errors import MMCosegError
from mmcoseg.mean_field import dense_crf
from mmcoseg.workers import default_workers, map_in_processes, map_in_threads, with_workers

posix = pytest.mark.skipif(os.name != 'posix', reason='signals and forks')


def end_processes():
    while workers._pools:
        workers._pools.popitem()[1].shutdown(kill_workers=True)


@pytest.fixture
def work_of(tmp_path, monkeypatch):
    """Makes a function named ``work`` that processes can import, from its source."""
    end_processes()
    monkeypatch.syspath_prepend(tmp_path)

    def make(source):
        (tmp_path / 'work_of_test.py').write_text(source)
        monkeypatch.delitem(sys.modules, 'work_of_test', raising=False)
        return import_module('work_of_test').work

    yield make
    end_processes()


WORK = """
import os, time
def work(number, pause=0.0):
    print('this must not get between the answers')
    time.sleep(pause)
    if number < 0:
        raise ValueError(f'{number} is below 0')
    return number, os.getpid()
"""


def calls(numbers, **kwargs):
    return [((number,), kwargs) for number in numbers]


def test_results_come_in_order_and_from_other_processes(work_of):
    work = work_of(WORK)
    some = [((i,), {'pause': 0.02 * (i % 3)}) for i in range(20)]
    found = list(map_in_processes(work, some, 3))
    assert [number for number, _ in found] == list(range(20))
    pids = {pid for _, pid in found}
    assert 1 <= len(pids) <= 3 and os.getpid() not in pids
    for number in (0, 1):
        assert {pid for _, pid in map_in_processes(work, calls(range(3)), number)} == {os.getpid()}


def test_processes_stay_for_the_next_use(work_of):
    work = work_of(WORK)
    pids = {pid for _, pid in map_in_processes(work, calls(range(30), pause=0.02), 2)}
    assert len(pids) == 2
    assert {pid for _, pid in map_in_processes(work, calls(range(20)), 2)} <= pids


def test_errors_of_calls_are_raised_and_the_processes_live_on(work_of):
    work = work_of(WORK)
    for number in (0, 2):
        with pytest.raises(ValueError, match='-3 is below 0'):
            list(map_in_processes(work, calls([1, 2, -3, *range(50)]), number))
    assert [n for n, _ in map_in_processes(work, calls(range(5)), 2)] == list(range(5))

    def broken():
        yield from calls(range(3))
        raise OSError('the second image is gone')

    with pytest.raises(OSError, match='second image'):
        list(map_in_processes(work, broken(), 2))
    assert [n for n, _ in map_in_processes(work, calls(range(5)), 2)] == list(range(5))


def test_only_a_few_calls_wait_in_memory(work_of):
    taken = []

    def counted():
        for call in calls(range(100)):
            taken.append(call)
            yield call

    results = map_in_processes(work_of(WORK), counted(), 2)
    next(results)
    assert len(taken) == 4
    results.close()


@pytest.mark.slow
@posix
@pytest.mark.parametrize('idle', [True, False])
def test_killed_processes_are_replaced(work_of, idle):
    work = work_of(WORK)
    victim = [pid for _, pid in map_in_processes(work, calls(range(8), pause=0.02), 2)][-1]
    if idle:
        os.kill(victim, signal.SIGKILL)
        time.sleep(0.1)
    else:
        threading.Timer(0.15, os.kill, (victim, signal.SIGKILL)).start()
    found = list(map_in_processes(work, calls(range(12), pause=0.05), 2))
    assert [number for number, _ in found] == list(range(12))


@posix
def test_calls_that_kill_their_process_are_named(work_of):
    work = work_of('import os\ndef work(n):\n    os.kill(os.getpid(), 9)\n')
    with pytest.raises(MMCosegError, match='(?s)work died twice.*SIGKILL.*num_workers=0'):
        list(map_in_processes(work, calls(range(3)), 2))


def _in_child(queue, work):
    queue.put((os.getpid(), [pid for _, pid in map_in_processes(work, calls(range(4)), 2)]))
    end_processes()


@pytest.mark.slow
@posix
@pytest.mark.parametrize('daemon', [True, False])
def test_forked_processes(work_of, daemon):
    work = work_of(WORK)
    own = {pid for _, pid in map_in_processes(work, calls(range(30), pause=0.02), 2)}
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(queue, work), daemon=daemon)
    child.start()
    child_pid, pids = queue.get(timeout=60)
    child.join(60)
    # Daemons, as data loaders' workers are, work themselves; others get processes of their own.
    assert set(pids) == {child_pid} if daemon else not set(pids) & {child_pid, *own}
    assert {pid for _, pid in map_in_processes(work, calls(range(30), pause=0.02), 2)} <= own


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from mmcoseg import workers
from mmcoseg.workers import map_in_processes
from work_of_test import work
workers._IDLE = 3  # seconds, so that the test need not wait for a minute
found = list(map_in_processes(work, [((i,), dict(pause=.02)) for i in range(50)], 2))
print(*{pid for _, pid in found}, flush=True)
try:
    list(map_in_processes(work, [((i,), dict(pause=.1)) for i in range(1000)], 2))
except KeyboardInterrupt:
    pids = [pid for _, pid in map_in_processes(work, [((i,), {}) for i in range(4)], 2)]
    print('interrupted', *sorted(set(pids)), flush=True)
"""


@pytest.mark.slow
@posix
@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_a_program_without_main_guard(tmp_path, repo_env, how):
    (tmp_path / 'work_of_test.py').write_text(WORK)
    (tmp_path / 'program.py').write_text(SCRIPT)
    program = subprocess.Popen(
        [sys.executable, str(tmp_path / 'program.py'), str(tmp_path)],
        env=repo_env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    lines = iter(program.stdout.readline, '')
    pids = next([int(pid) for pid in line.split()] for line in lines if line[0].isdigit())
    time.sleep(0.3)
    # As a terminal does, to all processes of the program.
    os.killpg(program.pid, how) if how == signal.SIGINT else program.kill()
    out = ''.join(lines)
    program.wait(timeout=30)
    if how == signal.SIGINT:
        assert program.returncode == 0
        (line,) = [line for line in out.splitlines() if line.startswith('interrupted')]
        assert set(map(int, line.split()[1:])) <= set(pids)
    deadline = time.monotonic() + 30
    while any(_runs(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_runs(pid) for pid in pids)


def _runs(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='reads /proc')
def test_processes_of_the_crf_are_small():
    end_processes()
    image = np.zeros((8, 8, 3), np.uint8)
    list(map_in_processes(dense_crf, [((image, np.full((1, 8, 8), 0.4)), {})] * 4, 2))
    (pool,) = workers._pools.values()
    for pid in pool._processes:
        status = Path(f'/proc/{pid}/status').read_text()
        peak = next(line for line in status.splitlines() if line.startswith('VmHWM'))
        assert int(peak.split()[1]) < 120_000  # kB; a process with torch has 400,000
    end_processes()


def test_distributed_processes_share_the_cores(monkeypatch):
    monkeypatch.delenv('LOCAL_WORLD_SIZE', raising=False)
    cores = default_workers()
    assert 1 <= cores <= os.cpu_count()
    monkeypatch.setenv('LOCAL_WORLD_SIZE', str(2 * cores))
    assert default_workers() == 1


def test_a_number_holds_within_its_block():
    before = default_workers()
    with with_workers(3), with_workers(5):
        assert default_workers() == 5
    assert default_workers() == before >= 1


@pytest.mark.parametrize('workers', [0, 1, 4])
def test_results_come_in_order_and_errors_come_through(workers):
    assert map_in_threads(abs, iter([3, -2, 1]), workers) == [3, 2, 1]
    with pytest.raises(ZeroDivisionError):
        map_in_threads(lambda x: 1 / x, [1, 0, 1], workers)
