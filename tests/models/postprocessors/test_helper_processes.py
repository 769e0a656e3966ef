import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from mmcoseg.models.postprocessors import processes
from mmcoseg.models.postprocessors.mean_field import dense_crf
from mmcoseg.models.postprocessors.processes import HelperDied, Helpers, default_workers

posix = pytest.mark.skipif(os.name != 'posix', reason='signals and forks')


@pytest.fixture
def helpers_of(tmp_path):
    """Makes Helpers of a function named ``work``, from its source."""
    made = []

    def make(source):
        path = tmp_path / 'work_of_test.py'
        path.write_text(source)
        namespace = {'__name__': 'work_of_test'}
        exec(compile(source, str(path), 'exec'), namespace)
        made.append(Helpers(namespace['work']))
        return made[-1]

    yield make
    for helpers in made:
        helpers.close()


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


def test_results_come_in_order_and_from_other_processes(helpers_of):
    helpers = helpers_of(WORK)
    found = list(helpers.map([((i,), {'pause': 0.02 * (i % 3)}) for i in range(20)], 3))
    assert [number for number, _ in found] == list(range(20))
    pids = {pid for _, pid in found}
    assert 1 < len(pids) <= 3 and os.getpid() not in pids
    # The next use has the same helpers.
    assert {pid for _, pid in helpers.map(calls(range(20)), 3)} <= pids
    for workers in (0, 1):
        assert {pid for _, pid in helpers.map(calls(range(3)), workers)} == {os.getpid()}


def test_errors_of_calls_are_raised_and_the_helpers_live_on(helpers_of):
    helpers = helpers_of(WORK)
    for workers in (0, 2):
        with pytest.raises(ValueError, match='-3 is below 0'):
            list(helpers.map(calls([1, 2, -3, *range(50)]), workers))
    assert [n for n, _ in helpers.map(calls(range(5)), 2)] == list(range(5))

    def broken():
        yield from calls(range(3))
        raise OSError('the second image is gone')

    with pytest.raises(OSError, match='second image'):
        list(helpers.map(broken(), 2))
    assert [n for n, _ in helpers.map(calls(range(5)), 2)] == list(range(5))


def test_only_a_few_calls_wait_in_memory(helpers_of):
    helpers = helpers_of(WORK)
    taken = []

    def counted():
        for call in calls(range(100)):
            taken.append(call)
            yield call

    results = helpers.map(counted(), 2)
    next(results)
    assert len(taken) == 4
    results.close()


@posix
@pytest.mark.parametrize('idle', [True, False])
def test_killed_helpers_are_replaced(helpers_of, idle):
    helpers = helpers_of(WORK)
    pids = {pid for _, pid in helpers.map(calls(range(8), pause=0.02), 2)}
    victim = pids.pop()
    if idle:
        os.kill(victim, signal.SIGKILL)
        time.sleep(0.1)
    else:
        threading.Timer(0.15, os.kill, (victim, signal.SIGKILL)).start()
    found = list(helpers.map(calls(range(12), pause=0.05), 2))
    assert [number for number, _ in found] == list(range(12))
    time.sleep(0.1)
    assert victim not in {helper.process.pid for helper in helpers.idle}


@posix
def test_calls_that_kill_their_helper_are_named(helpers_of):
    helpers = helpers_of('import os\ndef work(n):\n    os.kill(os.getpid(), 9)\n')
    with pytest.raises(HelperDied, match='(?s)work died twice.*killed by signal 9.*num_workers=0'):
        list(helpers.map(calls(range(3)), 2))


def test_close_ends_the_helpers(helpers_of):
    helpers = helpers_of(WORK)
    list(helpers.map(calls(range(8), pause=0.02), 2))
    processes = [helper.process for helper in helpers.idle]
    assert len(processes) == 2 and all(p.poll() is None for p in processes)
    helpers.close()
    assert all(p.poll() is not None for p in processes) and not helpers.idle
    assert len(list(helpers.map(calls(range(3)), 2))) == 3


def _in_child(queue, helpers):
    queue.put((os.getpid(), [pid for _, pid in helpers.map(calls(range(4)), 2)]))
    helpers.close()


@posix
@pytest.mark.parametrize('daemon', [True, False])
def test_forked_processes(helpers_of, daemon):
    helpers = helpers_of(WORK)
    own = {pid for _, pid in helpers.map(calls(range(8), pause=0.02), 2)}
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(queue, helpers), daemon=daemon)
    child.start()
    child_pid, pids = queue.get(timeout=30)
    child.join()
    # Daemons, as data loaders' workers are, work themselves; others get helpers of their own.
    assert set(pids) == {child_pid} if daemon else not set(pids) & {child_pid, *own}
    assert {pid for _, pid in helpers.map(calls(range(8), pause=0.02), 2)} == own


SCRIPT = """
import os, sys, time
sys.path[:0] = sys.argv[1:]
from processes import Helpers
from work_of_test import work
helpers = Helpers(work)
list(helpers.map([((i,), dict(pause=.1)) for i in range(2)], 2))
print(*(h.process.pid for h in helpers.idle), flush=True)
try:
    list(helpers.map([((i,), dict(pause=.1)) for i in range(1000)], 2))
except KeyboardInterrupt:
    pids = [pid for _, pid in helpers.map([((i,), {}) for i in range(4)], 2)]
    print('interrupted', *sorted(set(pids)), flush=True)
"""


@posix
@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGKILL])
def test_no_helper_outlives_a_program_without_main_guard(tmp_path, repo_env, how):
    (tmp_path / 'work_of_test.py').write_text(WORK)
    (tmp_path / 'program.py').write_text(SCRIPT)
    # By its folder: the package's import would take seconds.
    room = str(Path(processes.__file__).parent)
    program = subprocess.Popen(
        [sys.executable, str(tmp_path / 'program.py'), str(tmp_path), room],
        env=repo_env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if how == signal.SIGKILL else subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    pids = [int(pid) for pid in program.stdout.readline().split()]
    assert pids
    time.sleep(0.3)
    program.send_signal(how)
    out, _ = program.communicate(timeout=30)
    if how == signal.SIGINT:
        assert program.returncode == 0
        assert out.startswith('interrupted') and set(map(int, out.split()[1:])) <= set(pids)
    deadline = time.monotonic() + 10
    while any(_runs(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_runs(pid) for pid in pids)


def _runs(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='reads /proc')
def test_helpers_of_the_crf_are_small():
    helpers = Helpers(dense_crf)
    image = np.zeros((8, 8, 3), np.uint8)
    list(helpers.map([((image, np.full((1, 8, 8), 0.4)), {})] * 4, 2))
    for helper in helpers.idle:
        status = Path(f'/proc/{helper.process.pid}/status').read_text()
        peak = next(line for line in status.splitlines() if line.startswith('VmHWM'))
        assert int(peak.split()[1]) < 120_000  # kB; a process with torch has 400,000
    helpers.close()


def test_distributed_processes_share_the_cores(monkeypatch):
    monkeypatch.delenv('LOCAL_WORLD_SIZE', raising=False)
    cores = default_workers()
    assert 1 <= cores <= os.cpu_count()
    monkeypatch.setenv('LOCAL_WORLD_SIZE', str(2 * cores))
    assert default_workers() == 1
