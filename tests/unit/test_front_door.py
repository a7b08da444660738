"""The command itself: Ctrl-C at any moment is the end, without a traceback."""

import subprocess
import sys

import pytest

SCRIPT = """
import importlib.abc, os, signal, sys

class Interrupt(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
sys.argv = ["shuichi", "sensor", "profiles"]
import shuichi
shuichi.main()
"""


@pytest.mark.parametrize("module", ["click", "edge.config"])
def test_ctrl_c_while_modules_load_says_nothing(module, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(module=module)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
