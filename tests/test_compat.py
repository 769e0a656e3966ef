"""Tests of what depends on versions and systems."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def test_freed_memory_is_kept_where_there_is_glibc(repo_env):
    program = (
        'import platform; from mmcoseg.compat import keep_freed_memory;'
        "assert keep_freed_memory() == (platform.libc_ver()[0] == 'glibc')"
    )
    subprocess.run([sys.executable, '-c', program], env=repo_env, check=True, timeout=120)


def test_freed_memory_is_returned(repo_env):
    # Every second block of a heap that was taught not to shrink.
    program = (
        'import platform; from mmcoseg.compat import keep_freed_memory, return_freed_memory\n'
        'def resident(): return int(open("/proc/self/statm").read().split()[1]) * 4096\n'
        'if keep_freed_memory():\n'
        '    blocks = [bytearray(b"x" * 10**6) for _ in range(200)]\n'
        '    del blocks[::2]; before = resident()\n'
        '    return_freed_memory(); assert before - resident() > 8e7, (before, resident())\n'
        'else: return_freed_memory()\n'
    )
    subprocess.run([sys.executable, '-c', program], env=repo_env, check=True, timeout=120)
