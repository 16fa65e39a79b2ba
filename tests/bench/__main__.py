"""Run every benchmark: ``python -m tests.bench``. Ratios are what counts; times differ from machine to machine."""

import sys

from tests.bench import bench_networks, bench_projectors, bench_shapes, bench_wavelets

if __name__ == "__main__":
    sys.exit(bench_wavelets.main() | bench_networks.main() | bench_projectors.main() | bench_shapes.main())
