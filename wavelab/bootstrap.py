"""Set up ``.venv`` with nothing but Python's own library: ``python3 -m wavelab.bootstrap``.

The exact versions of ``requirements.lock`` are installed where they fit (CPython 3.11 on 64-bit Linux); elsewhere the
bounds of ``pyproject.toml`` are. A stamp in ``.venv`` makes the next call instant while nothing has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
OLDEST = (3, 11)


def main(root: Path = ROOT) -> int:
    """Bring ``.venv`` up to date and return the exit status."""
    if sys.version_info < OLDEST:
        return _stop(
            f"This is Python {platform.python_version()}; the course needs 3.11 or newer. Try: make PYTHON=python3.11"
        )
    venv, stamp = root / ".venv", root / ".venv" / ".wavelab-ready"
    wanted = _state(root)
    if stamp.is_file() and stamp.read_text() == wanted and python_of(venv).exists():
        return 0
    started = time.monotonic()
    stamp.unlink(missing_ok=True)
    exact = lock_fits()
    print(f"Setting up {venv.name} (once; a few minutes)", flush=True)
    if not exact:
        print(f"  {_here()} is not what requirements.lock was made for: using the bounds of pyproject.toml", flush=True)
    for number, (what, command) in enumerate(steps := _steps(root, venv, exact), start=1):
        print(f"  {number}/{len(steps)} {what}", flush=True)
        if command() != 0:
            return _stop(f"Step {number} ({what}) failed; the reason stands above. The same command tries again.")
    stamp.write_text(wanted)
    print(f"  ready after {time.monotonic() - started:.0f} s", flush=True)
    return 0


def lock_fits() -> bool:
    """Return whether the lock was made for this Python and platform."""
    right_python = sys.version_info[:2] == (3, 11) and platform.python_implementation() == "CPython"
    return right_python and sys.platform == "linux" and platform.machine() == "x86_64"


def python_of(venv: Path) -> Path:
    """Return the path of an environment's Python."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _steps(root: Path, venv: Path, exact: bool) -> list:
    wanted = ["-r", str(root / "requirements.lock")] if exact else [f"{root}[course,test]"]
    return [
        ("virtual environment", lambda: _make_venv(venv)),
        ("torch", lambda: _install_torch(root, venv)),
        ("packages", lambda: _pip(venv, *wanted)),
        ("wavelab", lambda: _pip(venv, "--no-deps", "--editable", str(root))),
    ]


def _make_venv(venv: Path) -> int:
    """Make an environment of this Python; one of another Python, or a broken one, is made anew."""
    if _version_of(venv) == list(sys.version_info[:2]):
        return 0
    if venv.exists():
        print(f"  {venv.name} is broken or of another Python; making it anew", flush=True)
    shutil.rmtree(venv, ignore_errors=True)
    status = subprocess.run([sys.executable, "-m", "venv", str(venv)]).returncode
    if status != 0:
        print("  Python's venv module is missing or broken; on Debian and Ubuntu: apt install python3-venv", flush=True)
    return status


def _version_of(venv: Path) -> list[int] | None:
    """Return major and minor version of an environment's Python; None where it does not run."""
    ask = [str(python_of(venv)), "-c", "import pip, sys; print(list(sys.version_info[:2]))"]
    try:
        told = subprocess.run(ask, capture_output=True, text=True, timeout=60)
        return json.loads(told.stdout) if told.returncode == 0 else None
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def _install_torch(root: Path, venv: Path) -> int:
    """Install the locked torch: its CPU build where pip offers one, else whatever it offers for this platform."""
    version = re.search(r"^torch==([\d.]+)", (root / "requirements.lock").read_text(), re.MULTILINE).group(1)
    if _pip(venv, f"torch=={version}+cpu", quiet=True) == 0:
        return 0
    return _pip(venv, f"torch=={version}" if lock_fits() else "torch")


def _pip(venv: Path, *arguments: str, quiet: bool = False) -> int:
    command = [str(python_of(venv)), "-m", "pip", "install", "-qq", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, stderr=subprocess.DEVNULL if quiet else None).returncode


def _state(root: Path) -> str:
    digest = hashlib.sha256(f"{sys.executable} {platform.python_version()} {root}".encode())
    for name in ("requirements.lock", "pyproject.toml"):
        digest.update((root / name).read_bytes())
    return digest.hexdigest()


def _here() -> str:
    return f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.machine()}"


def _stop(message: str) -> int:
    print(message, file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
