"""The training loop: one CPU core, one GPU or several processes through Accelerate.

Gradients of several processes are added by one reduction after the backward pass, not by a wrapper around the model.
So a loss may call any method of the model and differentiate twice, and one process or several compute the same sum.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import send_to_device
from torch import Tensor, nn

from wavelab.errors import InvalidInput, TrainingDiverged
from wavelab.training.batches import Batches, seed_of
from wavelab.training.folder import CHECKPOINT, HISTORY, LOG, begin
from wavelab.training.progress import Log, reporter
from wavelab.training.settings import History, Training
from wavelab.training.state import State, optimizer_tensors, restore_optimizer, save_state

Loss = Callable[[nn.Module, Any, torch.Generator], Tensor]


def train(
    model: nn.Module,
    loss: Loss,
    data: Any,
    training: Training,
    folder: Path | str,
    *,
    resume: bool = True,
    progress: bool = True,
) -> History:
    r"""Train a model by AdamW and leave the running mean of its weights in it.

    .. math:: \theta_{k+1}=\theta_k-\eta_k\,\mathrm{AdamW}(g_k),\qquad
              \bar\theta_{k+1}=m_k\bar\theta_k+(1-m_k)\,\theta_{k+1}

    All that is random at step :math:`k` follows from ``(seed, k)``. A training that was killed goes on from its last
    checkpoint when it is called again, and on a CPU ends with the same bits as one that was not.

    Args:
        model: the network; moved to the device of the process (``WAVELAB_DEVICE`` where set).
        loss: ``loss(model, batch, generator)`` returns the batch's mean loss, a scalar.
        data: a tensor ``(samples, ...)``, a tuple of such tensors, or an object with ``__len__`` and a
            ``__getitem__`` that takes a tensor of indices and returns a batch.
        training: the settings.
        folder: where checkpoint, log and history are kept; one folder a run.
        resume: go on from the folder's checkpoint; False starts anew and overwrites it.
        progress: show a live plot (notebook) or a bar (terminal).

    Returns:
        The history. The model is in evaluation mode, with averaged weights.

    Raises:
        TrainingDiverged: loss or gradient became NaN or infinite; the last good checkpoint is kept.
        InvalidInput: the folder holds another run, or there are more processes than shards.
        DataCorrupt: the folder's checkpoint is truncated or damaged.
        StorageError: a file cannot be written; the last good checkpoint is kept.
    """
    accelerator, folder = _accelerator(training), Path(folder)
    batches = Batches(data, training.batch_size, training.shards, training.seed)
    model.to(accelerator.device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=training.learning_rate, betas=training.betas, weight_decay=training.weight_decay
    )
    state = begin(accelerator, model, data, training, folder, resume)
    _restore(model, optimizer, state)
    run = _Run(accelerator, model, optimizer, batches, training, folder, state, progress)
    with _own_randomness(accelerator.device):
        run.train(torch.compile(model) if training.compile else model, loss)
    model.load_state_dict(run.ema)
    model.eval()
    history = History(state.steps, state.losses, state.seconds, state.cpu_seconds)
    if accelerator.is_main_process:
        history.save(folder / HISTORY)
    accelerator.wait_for_everyone()
    return history


class _Run:
    """One call of :func:`train` under way."""

    def __init__(
        self,
        accelerator: Accelerator,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        batches: Batches,
        training: Training,
        folder: Path,
        state: State,
        progress: bool,
    ) -> None:
        self.accelerator, self.model, self.optimizer, self.batches = accelerator, model, optimizer, batches
        self.training, self.folder, self.state = training, folder, state
        self.ema = {name: value.to(accelerator.device) for name, value in state.ema.items()}
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        for parameter in self.parameters:
            parameter.grad = torch.zeros_like(parameter)
        self.main = accelerator.is_main_process
        self.log = Log(folder / LOG, state.step) if self.main else None
        self.reporter = reporter(training.steps, folder.name, progress and self.main)
        self.pending: list[Tensor] = []  # (loss, norm of the gradient) of steps not yet looked at
        self.clock = time.monotonic(), time.process_time()

    def train(self, model: nn.Module, loss: Loss) -> None:
        """Do the steps that are left, with ``model`` (perhaps compiled) for the forward pass."""
        model.train()
        try:
            for step in range(self.state.step, self.training.steps):
                self.pending.append(self._update(model, loss, step))
                self._average(step)
                self._follow(step + 1)
        finally:
            self.reporter.close()

    def _update(self, model: nn.Module, loss: Loss, step: int) -> Tensor:
        """Do one step; return its loss and the norm of its gradient."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.training.rate(step)
        self.optimizer.zero_grad(set_to_none=False)
        total = torch.zeros((), device=self.accelerator.device)
        for shard in range(self.accelerator.process_index, self.training.shards, self.accelerator.num_processes):
            total += self._backward(model, loss, step, shard)
        total = self._add_up(total)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.training.clip or math.inf)
        self.optimizer.step()
        return torch.stack([total, norm])

    def _backward(self, model: nn.Module, loss: Loss, step: int, shard: int) -> Tensor:
        """Add the gradient of one shard's part of the mean loss; return that part."""
        device, seed = self.accelerator.device, seed_of(self.training.seed, step, shard)
        torch.manual_seed(seed)  # for layers such as dropout, which take no generator
        generator = torch.Generator(device).manual_seed(seed)
        batch = send_to_device(self.batches(step, shard), device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.training.precision == "bfloat16"):
            value = loss(model, batch, generator) / self.training.shards
        value.backward()
        return value.detach().float()

    def _add_up(self, total: Tensor) -> Tensor:
        """Add loss and gradients of all processes."""
        if self.accelerator.num_processes == 1:
            return total
        flat = torch.cat([total.reshape(1), *(p.grad.reshape(-1) for p in self.parameters)])
        flat = self.accelerator.reduce(flat, "sum")
        for parameter, part in zip(self.parameters, flat[1:].split([p.numel() for p in self.parameters])):
            parameter.grad.copy_(part.view_as(parameter))
        return flat[0]

    @torch.no_grad()
    def _average(self, step: int) -> None:
        """Move the running mean of the weights towards the weights."""
        weight = 1 - self.training.decay(step)
        for name, value in self.model.state_dict().items():
            mean = self.ema[name]
            mean.lerp_(value, weight) if value.is_floating_point() else mean.copy_(value)

    def _follow(self, done: int) -> None:
        """Look at the losses, log and save, where it is time for that."""
        last, every = done == self.training.steps, self.training.checkpoint_every
        logs, saves = done % self.training.log_every == 0 or last, done % every == 0 or last
        if not (logs or saves or self.accelerator.device.type == "cpu"):
            return  # a look at a number makes a GPU wait
        norm = self._look(done)
        if logs:
            self._note(done, norm)
        if saves:
            self._save(done)

    def _look(self, done: int) -> float:
        """Move the pending losses to the window; stop the training where one of them is not finite."""
        values = torch.stack(self.pending).tolist()
        for step, (loss, norm) in enumerate(values, done - len(values) + 1):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise TrainingDiverged(
                    f"Step {step} gave loss {loss} and a gradient of norm {norm}. The last good checkpoint, of step "
                    f"{self.state.step}, is {self.folder / CHECKPOINT}. Lower the learning rate "
                    f"({self.training.learning_rate}) or the clip ({self.training.clip}), or check the data for NaN."
                )
            self.state.window.append(loss)
        self.pending.clear()
        return values[-1][1]

    def _note(self, done: int, norm: float) -> None:
        """Add the mean of the window to the history and the log."""
        state = self.state
        state.steps.append(done)
        state.losses.append(math.fsum(state.window) / len(state.window))
        state.window.clear()
        if self.main:
            seconds, _ = self._spent()
            rate = self.training.rate(done - 1)
            self.log.write(
                step=done, loss=state.losses[-1], learning_rate=rate, gradient_norm=norm, seconds=round(seconds, 3)
            )
            self.reporter.show(done, state.steps, state.losses)

    def _save(self, done: int) -> None:
        """Write the checkpoint; its step becomes the last good one."""
        state = self.state
        state.model, state.ema = self.model.state_dict(), self.ema
        state.optimizer, state.step = optimizer_tensors(self.optimizer), done
        state.seconds, state.cpu_seconds = self._spent()
        self.clock = time.monotonic(), time.process_time()
        if self.main:
            save_state(state, self.folder / CHECKPOINT)

    def _spent(self) -> tuple[float, float]:
        """Return the wall and processor time since the training began."""
        wall, cpu = self.clock
        return self.state.seconds + time.monotonic() - wall, self.state.cpu_seconds + time.process_time() - cpu


def processes() -> PartialState:
    """Return what Accelerate knows of this process and its peers, on the device of ``WAVELAB_DEVICE`` where set."""
    wanted = os.environ.get("WAVELAB_DEVICE", "")
    if wanted and wanted != "cpu" and "LOCAL_RANK" not in os.environ:
        os.environ["ACCELERATE_TORCH_DEVICE"] = wanted
    return PartialState(cpu=wanted == "cpu")


def _accelerator(training: Training) -> Accelerator:
    """Make the accelerator of this call. Precision is the settings' matter, so that calls may differ in it."""
    accelerator = Accelerator(cpu=processes().device.type == "cpu", mixed_precision="no")
    if accelerator.num_processes > training.shards:
        raise InvalidInput(
            f"{accelerator.num_processes} processes cannot share a batch of {training.shards} shard(s); give "
            f"Training(shards={accelerator.num_processes}), or a multiple of it."
        )
    return accelerator


def _restore(model: nn.Module, optimizer: torch.optim.Optimizer, state: State) -> None:
    model.load_state_dict(state.model)
    if state.optimizer:
        restore_optimizer(optimizer, state.optimizer)


@contextmanager
def _own_randomness(device: torch.device) -> Iterator[None]:
    """Leave torch's global random state as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
