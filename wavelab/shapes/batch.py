"""Many meshes at once: worker processes, a time limit for each, a report instead of a stop."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

import torch
from tqdm.auto import tqdm

from wavelab.errors import WavelabError

_WORTH = 5.0  # seconds of work that are left, from which on other processes are started


class Outcome(NamedTuple):
    """What became of one job.

    Attributes:
        name: of the job.
        value: what the function returned.
        error: why it failed, or None.
        seconds: how long it took.
    """

    name: str
    value: Any
    error: str | None
    seconds: float


class _Worker:
    """A process that does one job after the other; killed when a job takes too long."""

    def __init__(self, context: Any, function: Callable[..., Any]) -> None:
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(function, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.function, self.name, self.began, self.ready = function, "", 0.0, False

    def begin(self, name: str, arguments: tuple[Any, ...]) -> None:
        """Hand over a job; its time counts from when the process is there."""
        try:
            self.ready = self.ready or self.pipe.recv()
        except EOFError as error:
            raise WavelabError(
                f"A process for {self.function!r} died before its first job. Give a function of a module that can be "
                f"imported; one that is defined in the program that runs is not found."
            ) from error
        self.name, self.began = name, time.monotonic()
        self.pipe.send(arguments)

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def run(
    function: Callable[..., Any],
    jobs: Sequence[tuple[str, tuple[Any, ...]]],
    *,
    workers: int | None = None,
    limit: float = 120.0,
    progress: bool = True,
) -> list[Outcome]:
    """Call a function for every job in parallel processes; one that fails or hangs does not stop the others.

    Args:
        function: of a module, called with the arguments of a job; what it returns is sent back.
        jobs: names and arguments.
        workers: processes; left out, one for each core.
        limit: seconds a job may take.
        progress: whether to draw a bar.

    Returns:
        One outcome a job, in the order of the jobs.
    """
    context = multiprocessing.get_context("spawn")
    waiting, done = list(enumerate(jobs))[::-1], {}
    idle = [_Worker(context, function) for _ in range(min(workers or os.cpu_count() or 1, len(jobs)))]
    busy: dict[Connection, tuple[int, _Worker]] = {}
    bar = tqdm(total=len(jobs), disable=not progress, unit="mesh")
    try:
        while waiting or busy:
            while waiting and idle:
                number, (name, arguments) = waiting.pop()
                worker = idle.pop()
                worker.begin(name, arguments)
                busy[worker.pipe] = number, worker
            ready = wait(list(busy), timeout=0.2)
            late = [pipe for pipe, (_, w) in busy.items() if pipe not in ready and time.monotonic() - w.began > limit]
            for pipe in [*ready, *late]:
                number, worker = busy.pop(pipe)
                value, error, usable = _late(limit) if pipe in late else _answer(pipe)
                done[number] = Outcome(worker.name, value, error, time.monotonic() - worker.began)
                bar.update()
                if usable:
                    idle.append(worker)
                else:
                    worker.stop()
                    idle.append(_Worker(context, function))
    finally:
        bar.close()
        for worker in [*idle, *(w for _, w in busy.values())]:
            worker.stop()
    return [done[number] for number in range(len(jobs))]


def mapped(
    function: Callable[..., Any],
    arguments: Sequence[tuple[Any, ...]],
    *,
    workers: int = -1,
    progress: bool = True,
    unit: str = "shape",
) -> list[Any]:
    """Call a function with each of many arguments, in parallel processes; the first error stops all.

    Processes take seconds to start. So the first call happens here, and what is left goes to others only if it would
    take longer than that.

    Args:
        function: of a module.
        arguments: of the calls.
        workers: processes; -1 for one each core. With 1 everything happens here.
        progress: whether to draw a bar.
        unit: what the bar counts.

    Returns:
        What the calls returned, in their order.
    """
    workers, found = (os.cpu_count() or 1) if workers < 1 else workers, []
    began = time.monotonic()
    with tqdm(total=len(arguments), disable=not progress, unit=unit) as bar, contextlib.ExitStack() as stack:
        for given in arguments:
            found.append(function(*given))
            bar.update()
            if workers > 1 and (time.monotonic() - began) * (len(arguments) / len(found) - 1) > _WORTH:
                break
        if rest := arguments[len(found) :]:
            context = multiprocessing.get_context("spawn")
            count = min(workers, len(rest))
            pool = ProcessPoolExecutor(count, mp_context=context, initializer=torch.set_num_threads, initargs=(1,))
            for one in stack.enter_context(pool).map(function, *zip(*rest, strict=True)):
                found.append(one)
                bar.update()
    return found


def _late(limit: float) -> tuple[Any, str | None, bool]:
    return None, f"took longer than {limit:g} s", False


def _answer(pipe: Connection) -> tuple[Any, str | None, bool]:
    """Return value, error, and whether the worker can go on."""
    try:
        return *pipe.recv(), True
    except EOFError:
        return None, "its process died", False


def _serve(function: Callable[..., Any], pipe: Connection) -> None:
    """Say that the process is there, then do what arrives until the other end closes."""
    try:
        pipe.send(True)
        while True:
            arguments = pipe.recv()
            try:
                answer = function(*arguments), None
            except WavelabError as error:
                answer = None, str(error)
            except Exception as error:  # a worker reports whatever happens
                answer = None, f"{type(error).__name__}: {error}"
            pipe.send(answer)
    except (EOFError, OSError, KeyboardInterrupt):
        pass
