"""Run the cells of a draft before a mark, so that a table is measured: part.py FILE MARK."""

import sys

import torch
from cells import run_to

if __name__ == "__main__":
    torch.set_num_threads(1)
    run_to(*sys.argv[1:])
