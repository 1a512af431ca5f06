from __future__ import annotations

import subprocess
import sys


def test_the_module_is_the_program():
    done = subprocess.run([sys.executable, "-m", "deeplimit", "nothing"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "No such command 'nothing'" in done.stderr
