"""The site as `make docs` builds it, for the tests of it: built once, and only what has changed."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SITE = ROOT / "build" / "docs"


def built() -> Path:
    """The folder of the site, built when something has changed since; several processes may ask at once."""
    SITE.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(ROOT / "docs"), str(SITE)]
    with (SITE.parent / "docs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if ran.returncode:  # otherwise the next build would not say again what is wrong
            (SITE / ".doctrees" / "environment.pickle").unlink(missing_ok=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return SITE
