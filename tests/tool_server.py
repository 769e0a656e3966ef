"""Runs programs in forks of one process that has imported the toolbox but has used nothing of it.

A fresh interpreter takes some eight seconds to import torch, mmengine and mmsegmentation; a fork
takes none, and is as much a process of its own.
"""

import json
import os
import runpy
import select
import signal
import subprocess
import sys
import traceback
from pathlib import Path


class ToolServer:
    """Starts with the first program; ends by :meth:`close`."""

    def __init__(self, env: dict[str, str]) -> None:
        self._env = env
        self._process = None

    def run(
        self, argv: list[str], cwd: Path, env: dict[str, str], timeout: float = 300
    ) -> subprocess.CompletedProcess:
        """Run a Python program, the first of ``argv``; what it prints is captured as text."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, '-W', 'ignore', __file__],
                env=self._env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
            )
        files = [Path(cwd) / f'.{name}-of-tool' for name in ('stdout', 'stderr')]
        wish = dict(argv=argv, cwd=str(cwd), env=env, files=[str(file) for file in files])
        self._process.stdin.write(json.dumps(wish).encode() + b'\n')
        pid = self._answer(argv, timeout)
        try:
            code = self._answer(argv, timeout)
        except subprocess.TimeoutExpired:
            os.kill(pid, signal.SIGKILL)
            raise
        printed = [file.read_text(errors='replace') for file in files]
        for file in files:
            file.unlink()
        return subprocess.CompletedProcess(argv, code, *printed)

    def _answer(self, argv: list[str], timeout: float) -> int:
        ready, _, _ = select.select([self._process.stdout], [], [], timeout)
        if not ready:
            raise subprocess.TimeoutExpired(argv, timeout)
        return int(self._process.stdout.readline())

    def close(self) -> None:
        if self._process is not None:
            self._process.stdin.close()
            self._process.wait()


def serve() -> None:
    """Fork for each line of the standard input; answer the fork's number, then its exit code."""
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # imports may print
    import mmseg.datasets
    import mmseg.models  # noqa: F401

    import mmcoseg.engine.launch  # noqa: F401

    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            sys.exit(_run(**json.loads(line)))
        print(pid, file=answers, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


def _run(argv: list[str], cwd: str, env: dict[str, str], files: list[str]) -> int:
    """The exit code of a program, run in this process."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, file in enumerate(files, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.path[:1] = [str(Path(argv[0]).parent), *env.get('PYTHONPATH', '').split(os.pathsep)]
    sys.argv = argv
    code = 0
    try:
        runpy.run_path(argv[0], run_name='__main__')
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:
        traceback.print_exc()
        code = 1
    return code


if __name__ == '__main__':
    serve()
