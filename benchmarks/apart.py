"""Run one measurement in a process of its own, so that nothing is compiled or in memory before."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

__all__ = ["measure_apart"]


def measure_apart(script: str, *arguments: str) -> dict[str, Any]:
    """Run a script whose last line is a dictionary in JSON.

    ``failure`` holds the last line of its complaints if it fails.
    """
    command = [sys.executable, "-W", "ignore", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failure": (done.stderr.strip().splitlines() or ["no message"])[-1]}
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))
