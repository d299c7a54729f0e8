"""Try many more inputs than the tests do, each time others: `python -m tests.inputs [TIMES]`, by default 20.

Prints how many inputs of each kind came out right or were refused in one clear line; the exit code is 1 if
anything else became of one.
"""

import os
import subprocess
import sys

if __name__ == "__main__":
    times = sys.argv[1] if len(sys.argv) > 1 else "20"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=0", "tests/inputs"]
    sys.exit(min(1, subprocess.call(command, env={**os.environ, "INPUTS_TIMES": times})))
