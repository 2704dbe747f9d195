#!/usr/bin/env python3
"""Prints the directory with the packages of dev/requirements.txt, for PYTHONPATH; fetches them with pip the first time."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent / "requirements.txt"


def packages():
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "longshore/tools"
    version = ".".join(map(str, sys.version_info[:2]))
    directory = cache / f"python-{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]}-{version}"
    if not (directory / ".complete").exists():
        shutil.rmtree(directory, ignore_errors=True)
        quiet = ["--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]
        exact = ["--no-deps", "--only-binary", ":all:", "--target", directory, "-r", REQUIREMENTS]
        subprocess.run([sys.executable, "-m", "pip", "install", *quiet, *exact], check=True)
        (directory / ".complete").touch()
    return directory


if __name__ == "__main__":
    print(packages())
