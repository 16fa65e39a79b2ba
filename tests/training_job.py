"""A small training that tests run here and in processes of its own: ``python -m tests.training_job FOLDER [KILL]``."""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from accelerate import PartialState
from torch import nn

from wavelab.training import Training, train

SETTINGS = Training(
    steps=60, batch_size=8, learning_rate=1e-2, warmup=10, ema=0.9, shards=2, checkpoint_every=7, log_every=5, seed=3
)


def model():
    """Dropout draws from the global random state; batch normalisation has weights, buffers and a counter."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 16), nn.BatchNorm1d(16), nn.SiLU(), nn.Dropout(0.2), nn.Linear(16, 3))


def plain_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 16), nn.SiLU(), nn.Dropout(0.2), nn.Linear(16, 3))


def data():
    return torch.randn(29, 3, generator=torch.Generator().manual_seed(1))


def denoise(model, batch, generator):
    z = torch.randn(batch.shape, generator=generator, device=batch.device)
    return (model(batch + z) - batch).square().mean()


def kill_in_loss(step):
    """Return a loss that ends its process by SIGKILL in the second shard of a step."""
    calls = iter(range(SETTINGS.steps * 2))

    def loss(model, batch, generator):
        if next(calls) == 2 * step + 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return denoise(model, batch, generator)

    return loss


def kill_while_saving(count):
    """Let the ``count``-th checkpoint end this process by SIGKILL when half of it is written."""
    from wavelab.training import state

    save, calls = state.save_file, iter(range(1000))

    def save_half(tensors, path, metadata):
        save(tensors, path, metadata)
        if next(calls) == count:
            Path(path).write_bytes(Path(path).read_bytes()[:500])
            os.kill(os.getpid(), signal.SIGKILL)

    state.save_file = save_half


def main(job, folder, number):
    torch.set_num_threads(1)
    if job == "share":
        train(plain_model(), denoise, data(), SETTINGS, folder)
        peers = PartialState()
        if peers.is_main_process:
            Path(folder, "processes.json").write_text(json.dumps([peers.num_processes, peers.distributed_type.value]))
        torch.distributed.destroy_process_group()
        return
    if job == "save":
        kill_while_saving(int(number))
    train(model(), kill_in_loss(int(number)) if job == "step" else denoise, data(), SETTINGS, folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
