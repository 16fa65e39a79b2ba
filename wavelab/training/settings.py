"""What a training is told, and what it tells afterwards."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from wavelab.errors import DataCorrupt, DataUnavailable, InvalidInput, UnknownName
from wavelab.paths import atomic_write

SCHEDULES = ("cosine", "constant")
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Training:
    """The settings of a training; equal settings, data and first weights give equal results.

    Attributes:
        steps: number of updates.
        batch_size: samples an update, over all processes together.
        learning_rate: of AdamW, at its highest.
        schedule: after the warm-up, ``"cosine"`` falls to zero at the last step, ``"constant"`` stays.
        warmup: steps over which the learning rate rises from zero; at most a quarter of all steps.
        ema: decay of the running mean of the weights, 0 for none; the first steps use ``(1 + k) / (10 + k)`` instead.
        clip: the largest norm of the gradient, over which it is scaled down; None for no limit.
        weight_decay: AdamW's.
        betas: AdamW's decay of the means of gradients and of their squares; games want (0, 0.99).
        seed: from which the order of the data and every random number of the loss are derived.
        shards: parts into which a batch is cut; up to as many processes can share the work and get the same curve.
        checkpoint_every: steps between two checkpoints.
        log_every: steps over which a logged loss is averaged.
        precision: ``"float32"``, or ``"bfloat16"`` for the loss; weights stay float32.
        compile: whether ``torch.compile`` is used.

    Raises:
        InvalidInput, UnknownName: a setting out of range.
    """

    steps: int
    batch_size: int = 64
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    warmup: int = 100
    ema: float = 0.999
    clip: float | None = 1.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    seed: int = 0
    shards: int = 1
    checkpoint_every: int = 500
    log_every: int = 50
    precision: str = "float32"
    compile: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "shards", "checkpoint_every", "log_every"):
            _check_whole(name, getattr(self, name), 1)
        for name in ("warmup", "seed"):
            _check_whole(name, getattr(self, name), 0)
        if self.schedule not in SCHEDULES:
            raise UnknownName.among("schedule of learning rates", self.schedule, SCHEDULES)
        if self.precision not in PRECISIONS:
            raise UnknownName.among("precision", self.precision, PRECISIONS)
        if not (0 < self.learning_rate < math.inf and 0 <= self.ema < 1 and 0 <= self.weight_decay < math.inf):
            raise InvalidInput(
                f"learning_rate={self.learning_rate}, ema={self.ema}, weight_decay={self.weight_decay}: expected a "
                "positive learning rate, an ema in [0, 1) and a weight decay that is not negative."
            )
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise InvalidInput(f"betas is {self.betas}; give two numbers in [0, 1).")
        if self.clip is not None and not self.clip > 0:
            raise InvalidInput(f"clip is {self.clip}; give a positive norm, or None for no limit.")
        if self.batch_size % self.shards:
            raise InvalidInput(f"A batch of {self.batch_size} cannot be cut into {self.shards} equal shards.")

    def rate(self, step: int) -> float:
        r"""Return the learning rate of a step, counted from 0.

        .. math:: \eta_k=\eta\,\min\big(1, \tfrac{k+1}{w}\big)\cdot\tfrac12\big(1+\cos\pi\tfrac{k-w}{K-w}\big)

        with the second factor for ``"cosine"`` and from the end of the warm-up :math:`w` on only.
        """
        warmup = min(self.warmup, self.steps // 4)
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        if self.schedule == "constant":
            return self.learning_rate
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (self.steps - warmup)))

    def decay(self, step: int) -> float:
        """Return the decay of the weights' running mean at a step, counted from 0."""
        return min(self.ema, (1 + step) / (10 + step))


@dataclass(frozen=True)
class History:
    """The course of a training.

    Attributes:
        steps: after how many updates each loss was noted.
        losses: mean loss over the updates since the one before.
        seconds: wall time, summed over interruptions.
        cpu_seconds: processor time of the first process, summed likewise; on a busy machine the fairer number.
    """

    steps: Sequence[int]
    losses: Sequence[float]
    seconds: float
    cpu_seconds: float = 0.0

    def save(self, path: Path | str) -> None:
        """Write the history as JSON, whole or not at all."""
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path | str) -> History:
        """Read what :meth:`save` wrote: ``History.load(folder / "history.json")`` after a training.

        Raises:
            DataUnavailable: there is no such file.
            DataCorrupt: the file holds something else.
        """
        if not Path(path).is_file():
            raise DataUnavailable(f"There is no history {path}; a training writes it when it ends.")
        try:
            return cls(**json.loads(Path(path).read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise DataCorrupt(f"{path} is not a training's history ({error}); remove it and train again.") from error


def _check_whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidInput(f"{name} is {value!r}; give a whole number, at least {least}.")
