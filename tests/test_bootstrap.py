"""The set-up says what it does, is quick when nothing changed, and can be repeated after a failure."""

import re
import subprocess
import sys

import pytest

from wavelab import bootstrap
from wavelab.paths import ROOT


@pytest.fixture
def root(tmp_path):
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    return tmp_path


@pytest.fixture
def calls(monkeypatch, root):
    """Record what would be installed; make the environment's Python appear."""
    made = []

    def pip(venv, *arguments, quiet=False):
        made.append(arguments)
        return pip.status.get(arguments[0], 0)

    def make_venv(venv):
        python = bootstrap.python_of(venv)
        python.parent.mkdir(parents=True, exist_ok=True)
        python.touch()
        return 0

    pip.status = {}
    monkeypatch.setattr(bootstrap, "_pip", pip)
    monkeypatch.setattr(bootstrap, "_make_venv", make_venv)
    made_status = pip.status
    return made, made_status


def test_steps_then_nothing_to_do(root, calls, monkeypatch, capsys):
    monkeypatch.setattr(bootstrap, "lock_fits", lambda: True)
    made, _ = calls
    assert bootstrap.main(root) == 0
    said = capsys.readouterr().out
    assert "4/4 wavelab" in said
    assert [arguments[0] for arguments in made] == ["torch==2.13.0+cpu", "-r", "--no-deps"]
    made.clear()
    assert bootstrap.main(root) == 0
    assert (made, capsys.readouterr().out) == ([], "")


def test_a_change_of_the_lock_sets_up_again(root, calls):
    made, _ = calls
    bootstrap.main(root)
    made.clear()
    with open(root / "requirements.lock", "a") as lock:
        lock.write("# changed\n")
    bootstrap.main(root)
    assert made


def test_plain_torch_where_pip_has_no_cpu_build(root, calls, monkeypatch):
    monkeypatch.setattr(bootstrap, "lock_fits", lambda: True)
    made, status = calls
    status["torch==2.13.0+cpu"] = 1
    assert bootstrap.main(root) == 0
    assert made[1] == ("torch==2.13.0",)


def test_another_python_uses_the_bounds_and_says_so(root, calls, monkeypatch, capsys):
    monkeypatch.setattr(bootstrap, "lock_fits", lambda: False)
    made, _ = calls
    assert bootstrap.main(root) == 0
    assert "bounds of pyproject.toml" in capsys.readouterr().out
    assert (f"{root}[course,test]",) in made


def test_a_failing_step_is_named_and_tried_again(root, calls, monkeypatch, capsys):
    monkeypatch.setattr(bootstrap, "lock_fits", lambda: True)
    _, status = calls
    status["-r"] = 1
    assert bootstrap.main(root) == 1
    assert "Step 3 (packages) failed" in capsys.readouterr().err
    status.clear()
    assert bootstrap.main(root) == 0


def test_old_python_is_refused(root, monkeypatch, capsys):
    monkeypatch.setattr(bootstrap, "OLDEST", (9, 0))
    assert bootstrap.main(root) == 1
    assert "make PYTHON=" in capsys.readouterr().err


def test_it_needs_nothing_but_pythons_own_library():
    code = "import sys; before = set(sys.modules); import wavelab.bootstrap; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"],
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not re.search(r"'(torch|numpy|yaml|pooch)'", done.stdout)


def test_makefile_names_every_target_it_promises():
    text = (ROOT / "Makefile").read_text()
    for target in ("book", "test", "lab", "bench", "data", "lint", "clean"):
        assert re.search(rf"^{target}:.*## ", text, re.MULTILINE)


def test_an_environment_of_another_python_is_made_anew(tmp_path, monkeypatch, capsys):
    """One that does not run, or tells another version, is replaced; one of this Python is left alone."""
    venv, made = tmp_path / ".venv", []
    python = bootstrap.python_of(venv)
    python.parent.mkdir(parents=True)
    told = {"version": "[3, 9]"}

    def run(command, **options):
        if command[0] != str(python):
            made.append(command)
            return subprocess.CompletedProcess(command, 0)
        if told["version"] is None:
            raise FileNotFoundError(command[0])
        return subprocess.CompletedProcess(command, 0, stdout=told["version"])

    monkeypatch.setattr(bootstrap.subprocess, "run", run)
    assert bootstrap._make_venv(venv) == 0 and len(made) == 1 and not venv.exists()
    assert "of another Python" in capsys.readouterr().out
    told["version"] = None
    assert bootstrap._make_venv(venv) == 0 and len(made) == 2
    told["version"] = str(list(sys.version_info[:2]))
    assert bootstrap._make_venv(venv) == 0 and len(made) == 2
