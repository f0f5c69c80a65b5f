"""Running code that the model wrote, against a task's checks, in a child process with a limit.

Not a sandbox: the child has this user's rights. It is meant for this model, which recalls taught
functions; answers of other models belong into `hearth evaluate`.
"""

import json
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

from .tasks import Task

TIMEOUT_S = 10
SCRIPTS = Path(__file__).parents[1]

# Prints the secret only after the last check: a bare `sys.exit(0)` in the code passes nothing.
PROGRAM = """
import json, sys
from pathlib import Path
work = json.load(sys.stdin)
sys.path.insert(0, work["scripts"])
from starter.tasks import file_names
names = file_names(Path.cwd())
exec(work["code"], names)
assert all(eval(check, names) for check in work["checks"])
print(work["secret"])
"""


def passes(task: Task, code: str) -> bool:
    """Whether the code meets every check of the task within `TIMEOUT_S`."""
    secret = secrets.token_hex(8)
    work = json.dumps(
        {"code": code, "checks": task.checks, "secret": secret, "scripts": str(SCRIPTS)}
    )
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-c", PROGRAM],
                input=work,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                cwd=Path(folder),
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == 0 and done.stdout.strip().endswith(secret)
