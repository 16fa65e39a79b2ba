"""The one training loop, from one CPU core to several GPUs, and what it keeps.

``train(model, loss, data, Training(steps=2000), folder)`` leaves the averaged weights in the model. Interrupted and
called again, it goes on where it was and ends with the very same weights.
"""

from wavelab.training.loop import train
from wavelab.training.settings import History, Training

__all__ = ["History", "Training", "train"]
