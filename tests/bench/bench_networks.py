"""Throughput of :class:`wavelab.networks.UNet` against diffusers' ``UNet2DModel``, forward and backward.

    python -m tests.bench.bench_networks [--seconds 8] [--threads 2] [--check]

Equal input, the same levels, no attention, parameters equal within 5 %: diffusers has one block more a level on the way
up, so ours is wider. The peer runs in torch's usual layout and in channels-last; the faster one counts. The networks of
a row take turns in one run, and the smallest time counts.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.bench.bench_wavelets import chosen, smallest_times
from wavelab import networks

MULTS = (1, 2, 2)
CASES = (  # input, width of ours, width of the peer
    ((16, 1, 32, 32), 40, 32),
    ((8, 3, 64, 64), 40, 32),
    ((4, 1, 32, 32), 80, 64),
)
BOUND = 1.0  # what must be reached in every row of forward + backward
CONTENDERS = ("circular", "zeros", "diffusers", "diffusers last")


def peer(channels: int, size: int, width: int) -> nn.Module:
    """Return diffusers' U-Net with the same levels and as many groups as ours has at that width."""
    from diffusers import UNet2DModel

    levels = len(MULTS)
    return UNet2DModel(
        size,
        channels,
        channels,
        block_out_channels=tuple(width * mult for mult in MULTS),
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * levels,
        up_block_types=("UpBlock2D",) * levels,
        add_attention=False,
        norm_num_groups=8,
    )


def contenders(shape: tuple[int, ...], ours: int, theirs: int) -> dict[str, tuple[nn.Module, Callable[[], Tensor]]]:
    """Return each network with a call that runs it on the same input."""
    x, level = torch.randn(shape, generator=torch.Generator().manual_seed(0)), torch.linspace(-3, 3, shape[0])
    last = x.contiguous(memory_format=torch.channels_last)
    made = {}
    for padding in ("circular", "zeros"):
        model = networks.UNet(shape[1], shape[1], width=ours, mults=MULTS, padding=padding)
        made[padding] = model, lambda model=model: model(x, level)
    model = peer(shape[1], shape[2], theirs)
    made["diffusers"] = model, lambda model=model: model(x, level).sample
    model = peer(shape[1], shape[2], theirs).to(memory_format=torch.channels_last)
    made["diffusers last"] = model, lambda model=model: model(last, level).sample
    return made


def forward(model: nn.Module, call: Callable[[], Tensor]) -> Callable[[], None]:
    """Return one pass without gradients."""

    def run():
        with torch.no_grad():
            call()

    return run


def forward_backward(model: nn.Module, call: Callable[[], Tensor]) -> Callable[[], None]:
    """Return one pass forward and back to every parameter."""

    def run():
        model.zero_grad(set_to_none=True)
        call().square().mean().backward()

    return run


def main() -> int:
    """Print the table and the verdict; exit status 1 with ``--check`` where the bound is missed."""
    options = chosen(__doc__, 8.0)
    try:
        import diffusers
    except ImportError as error:
        print(f"diffusers is left out, and with it the comparison of networks: {error}")
        return 0
    print(f"U-Net, diffusers {diffusers.__version__}, {torch.get_num_threads()} threads, float32; least times in ms")
    names = "".join(f"{name:>16}" for name in CONTENDERS)
    print(f"{'input':<12} {'parameters':<18} {'pass':<10}{names}{'circular':>10}{'zeros':>7}  times as fast")
    worst = min(row for shape, ours, theirs in CASES for row in compare(shape, ours, theirs, options.seconds))
    print(f"smallest ratio of forward + backward {worst:.2f} (at least {BOUND})")
    return int(options.check and worst < BOUND)


def compare(shape: tuple[int, ...], ours: int, theirs: int, seconds: float) -> list[float]:
    """Print the rows of one case and return the ratios of forward + backward."""
    made = contenders(shape, ours, theirs)
    counts = [networks.count(made[name][0]) for name in ("circular", "diffusers")]
    assert abs(counts[0] / counts[1] - 1) < 0.05, counts
    sizes = f"{counts[0] / 1e6:.2f} M, {counts[1] / 1e6:.2f} M"
    for name, kind in (("forward", forward), ("both", forward_backward)):
        times = smallest_times({key: kind(*pair) for key, pair in made.items()}, seconds)
        best = min(times["diffusers"], times["diffusers last"])
        ratios = [best / times[padding] for padding in ("circular", "zeros")]
        cells = "".join(f"{1e3 * times[key]:>16.1f}" for key in CONTENDERS)
        print(
            f"{'×'.join(map(str, shape)):<12} {sizes:<18} {name:<10}{cells}{ratios[0]:>10.2f}{ratios[1]:>7.2f}",
            flush=True,
        )
    return ratios


if __name__ == "__main__":
    raise SystemExit(main())
