"""Tests of what depends on versions and systems."""

import subprocess
import sys


def test_freed_memory_is_kept_where_there_is_glibc(repo_env):
    program = (
        'import platform; from mmcoseg.compat import keep_freed_memory;'
        "assert keep_freed_memory() == (platform.libc_ver()[0] == 'glibc')"
    )
    subprocess.run([sys.executable, '-c', program], env=repo_env, check=True, timeout=120)
