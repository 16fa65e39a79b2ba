"""The command line: run, skip, refuse, report, go on."""

import json
import re
import signal
import time

import nbformat


def test_run_then_skip_then_rerun_what_changed(project):
    first = project.course("run")
    assert first.returncode == 0, first.stderr
    assert re.search(r"01-first +\d+ s", first.stdout)
    assert "cpu 1" in str(nbformat.read(project.executed("01-first"), as_version=4).cells)

    again = project.course("run")
    assert again.stdout.count("unchanged since its last run") == 2

    package = project.root / "wavelab" / "errors.py"
    package.write_text(package.read_text() + "\n# a change in the package\n")
    project.chapter("02-second", "The second, changed")
    listed = project.course("list")
    assert listed.stdout.count("out of date") == 2
    assert "unchanged" not in project.course("run", "1").stdout


def test_parameters_are_passed_on_and_part_of_the_key(project):
    assert project.course("run", "01-first", "--profile", "smoke", "-p", "seed=4").returncode == 0
    notebook = nbformat.read(project.executed("01-first", "smoke"), as_version=4)
    assert "smoke 5" in str(notebook.cells)
    stamp = json.loads(project.executed("01-first", "smoke").with_suffix(".json").read_text())
    assert stamp["values"] == {"profile": "smoke", "seed": 4}
    assert stamp["seconds"] > 0
    assert stamp["peak_mib"] > 10


def test_a_failing_cell_is_named_and_the_rest_goes_on(project):
    project.chapter("01-first", "The first", last="raise ValueError('too small')")
    done = project.course("run")
    assert done.returncode == 1
    for word in ("01-first", "ValueError: too small", "raise ValueError", "Traceback"):
        assert word in done.stdout
    assert re.search(r"02-second +\d+ s", done.stdout)
    assert not project.executed("01-first").exists()
    assert project.executed("01-first").with_suffix(".failed.ipynb").exists()
    project.chapter("01-first", "The first")
    assert project.course("run").returncode == 0


def test_a_kernel_that_dies_is_reported_and_the_rest_goes_on(project):
    project.chapter("01-first", "The first", last="import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    done = project.course("run")
    assert done.returncode == 1
    assert re.search(r"01-first: its kernel died.*MiB", done.stdout), done.stderr
    assert re.search(r"02-second +\d+ s", done.stdout)
    assert not list(project.executed("01-first").parent.glob("*.running.ipynb"))
    assert project.executed("01-first").with_suffix(".failed.ipynb").exists()


def test_an_interrupted_run_goes_on_where_it_was(project):
    project.chapter("02-second", "The second", last="import time; time.sleep(600)")
    with project.started("run") as process:
        assert "01-first" in process.stdout.readline()
        time.sleep(5)  # the second chapter is in its long cell, or about to be
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=600)
    assert process.returncode == 130
    assert "the same command goes on from there" in err
    assert not project.executed("02-second").exists()
    project.chapter("02-second", "The second")
    again = project.course("run")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("unchanged since its last run") == 1


DROPPED_INTERRUPT = """
import os, signal, time
from wavelab.course import __main__, execution

start = execution._Client.start_new_kernel

def dropped(self, **options):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
    except KeyboardInterrupt:
        pass
    start(self, **options)

execution._Client.start_new_kernel = dropped
raise SystemExit(__main__.main(["run"]))
"""


def test_an_interrupt_that_a_library_drops_is_not_lost(project):
    with project.started(python=["-c", DROPPED_INTERRUPT]) as process:
        out, err = process.communicate(timeout=600)
    assert process.returncode == 130, err
    assert "01-first  " not in out


def test_names_that_do_not_exist_are_refused_with_a_suggestion(project):
    for arguments, suggestion in (
        (("run", "-p", "sead=1"), "'seed'"),
        (("run", "--profile", "smok"), "'smoke'"),
        (("run", "01-frist"), "'01-first'"),
        (("run", "-p", "seed"), "NAME=VALUE"),
    ):
        done = project.course(*arguments)
        assert done.returncode == 1
        assert suggestion in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    assert not project.executed("01-first").exists()


def test_check_finds_drift_and_missing_parameters(project):
    assert "01-first.ipynb differs" in project.course("check").stdout
    assert project.course("notebooks").returncode == 0
    good = project.course("check")
    assert (good.returncode, good.stdout.strip()) == (0, "2 chapters: nothing wrong")
    source = project.chapter("02-second", "The second")
    source.write_text(source.read_text().replace("train = False\n", ""))
    project.course("notebooks")
    bad = project.course("check")
    assert bad.returncode == 1
    assert "profile, seed and train" in bad.stdout


def test_a_source_outside_the_table_of_contents_is_reported(project):
    project.chapter("03-third", "The third")
    done = project.course("list")
    assert done.returncode == 1
    assert "03-third.md" in done.stderr


def test_prepared_notebooks_hold_outputs_to_compare_with(project):
    project.course("notebooks")
    done = project.course("prepare", "1")
    assert done.returncode == 0, done.stderr
    notebook = nbformat.read(project.root / "_build" / "nbval" / "01-first.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all("nbval-check-output" in cell.metadata.tags for cell in code)
    assert any("smoke 1" in str(cell.outputs) for cell in code)
