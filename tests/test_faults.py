"""What is killed in the middle of writing leaves nothing half: a short run of scripts/faults.py."""

import re
import subprocess
import sys
from pathlib import Path

KILLS, WORKS = 2, ("answer", "save", "export")


def test_kills_leave_nothing_half() -> None:
    command = [sys.executable, "-m", "scripts.faults", "--kills", str(KILLS), "--work", ",".join(WORKS)]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for work, line in zip(WORKS, done.stdout.splitlines(), strict=True):
        assert re.match(rf"{work} +{KILLS} kills, \d+ times something whole, 0 unreadable, 0 half", line)
