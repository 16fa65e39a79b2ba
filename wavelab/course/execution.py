"""Execute one notebook with papermill: parameters checked, cells followed, failures told in full."""

from __future__ import annotations

import ast
import os
import re
import signal
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import papermill
import psutil
from nbclient.exceptions import DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError

from wavelab.errors import ChapterFailed, InvalidInput, UnknownName


def parameters(notebook: nbformat.NotebookNode, where: str = "the chapter") -> dict[str, Any]:
    """Return the names and default values in the cell tagged ``parameters``.

    Raises:
        InvalidInput: there is no such cell, or it holds anything but assignments of literals.
    """
    for cell in notebook.cells:
        if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", []):
            break
    else:
        raise InvalidInput(f"{where} has no cell tagged 'parameters'; tag its first code cell so.")
    try:
        return {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(cell.source).body}
    except (AttributeError, IndexError, ValueError, SyntaxError) as error:
        raise InvalidInput(f"The parameters cell of {where} may hold only lines such as seed = 0: {error}") from error


def check_parameters(given: Mapping[str, Any], known: Mapping[str, Any], where: str) -> None:
    """Refuse a parameter that the chapter does not have.

    Raises:
        UnknownName: names the chapter, the parameter and the closest known ones.
    """
    for name in given:
        if name not in known:
            raise UnknownName.among(f"parameter in {where}", name, known)


def execute(
    notebook: nbformat.NotebookNode,
    output: Path,
    values: Mapping[str, Any],
    *,
    where: str,
    run_dir: Path,
    on_cell: Callable[[int], None] = lambda index: None,
) -> tuple[float, float]:
    """Execute a notebook with papermill and return seconds and the kernel's peak memory in MiB.

    The output appears when every cell has run; after a failure it is kept beside as ``NAME.failed.ipynb``.

    Args:
        notebook: the notebook, unexecuted.
        output: where the executed notebook goes.
        values: parameters, checked against the parameters cell.
        where: the chapter's name, for messages.
        run_dir: the folder that the run may write to.
        on_cell: called with the index of each cell that has ended.

    Raises:
        UnknownName: a parameter the chapter does not have.
        ChapterFailed: a cell raised an error (chapter, cell and traceback are named), or the kernel died.
    """
    check_parameters(values, parameters(notebook, where), where)
    output.parent.mkdir(parents=True, exist_ok=True)
    run_dir.mkdir(parents=True, exist_ok=True)
    given, running = output.with_suffix(".source.ipynb"), output.with_suffix(".running.ipynb")
    nbformat.write(notebook, given)
    watch = _Watch(on_cell)
    before = time.monotonic()
    try:
        policy = os.environ.get("OMP_WAIT_POLICY", "passive")
        with _environment(WAVELAB_RUN_DIR=str(run_dir), OMP_WAIT_POLICY=policy), watch.interrupts():
            papermill.execute_notebook(
                given, running, dict(values), engine_name="wavelab", progress_bar=False, watch=watch, run_dir=run_dir
            )
    except (PapermillExecutionError, DeadKernelError) as error:
        failed = output.with_suffix(".failed.ipynb")
        os.replace(running, failed)
        dead = isinstance(error, DeadKernelError)
        raise ChapterFailed(_died(where, watch, failed) if dead else _failure(where, error, failed)) from error
    finally:
        given.unlink(missing_ok=True)
    os.replace(running, output)
    return time.monotonic() - before, watch.peak_mib


class _Watch:
    """Follows the cells of a run and keeps the largest memory that the kernel reached."""

    def __init__(self, on_cell: Callable[[int], None]):
        self.on_cell, self.peak_mib, self.interrupted = on_cell, 0.0, False

    @contextmanager
    def interrupts(self) -> Iterator[None]:
        """Remember an interrupt: raised within a finaliser, Python would drop it, and the next cell would run."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def interrupt(number: int, frame: Any) -> None:
            self.interrupted = True
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before or signal.default_int_handler)

    def cell_done(self, index: int, pid: int | None) -> None:
        self.on_cell(index)
        if pid is not None and psutil.pid_exists(pid):
            self.peak_mib = max(self.peak_mib, _peak_bytes(pid) / 2**20)


class _Client(PapermillNotebookClient):
    watch: _Watch

    def execute_cell(self, cell: nbformat.NotebookNode, cell_index: int, **options: Any) -> nbformat.NotebookNode:
        if self.watch.interrupted:
            raise KeyboardInterrupt
        try:
            return super().execute_cell(cell, cell_index, **options)
        finally:
            process = getattr(self.km.provisioner, "process", None)
            self.watch.cell_done(cell_index, process.pid if process else None)


class _Engine(NBClientEngine):
    """papermill's own engine, with a client that reports cells and memory."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> Any:
        resources = {"metadata": {"path": str(options["run_dir"])}}
        quiet = ["--IPKernelApp.log_level=ERROR"]  # else each kernel warns that loopback is not encrypted
        client = _Client(nb_man, kernel_name=kernel_name, timeout=None, resources=resources, extra_arguments=quiet)
        client.watch = options["watch"]
        return client.execute()


papermill_engines.register("wavelab", _Engine)


def _peak_bytes(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
    except (OSError, StopIteration):
        return psutil.Process(pid).memory_info().rss


def _died(where: str, watch: _Watch, failed: Path) -> str:
    return (
        f"{where}: its kernel died, most often for want of memory; at the end of the last cell it had needed "
        f"{watch.peak_mib:.0f} MiB. Close other programs, or take a machine with more.\n\nThe run up to there: {failed}"
    )


def _failure(where: str, error: PapermillExecutionError, failed: Path) -> str:
    """Say which cell failed, what it holds and why."""
    trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
    return (
        f"{where}: cell {error.cell_index} (In [{error.exec_count}]) raised {error.ename}: {error.evalue}\n\n"
        f"{textwrap.indent(error.source, '    ')}\n\n{trace}\n\nThe run up to there: {failed}"
    )


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
