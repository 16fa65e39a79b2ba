"""Numbers from anywhere: tensors, arrays and lists as checked arrays in double precision."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from wavelab.errors import InvalidInput


def array(x, name: str) -> np.ndarray:
    """Turn a tensor, array or list into a float64 array; refuse what is not made of finite real numbers."""
    if isinstance(x, Tensor):
        x = x.detach().cpu()
        x = x.float().numpy() if x.dtype in (torch.bfloat16, torch.float16) else x.numpy()
    if np.iscomplexobj(x):
        raise InvalidInput(
            f"{name} is complex; expected real numbers, such as its magnitude {name}.abs() or abs({name})."
        )
    try:
        x = np.ascontiguousarray(x, dtype=np.float64).reshape(np.shape(x))
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{name} is a {type(x).__name__} that is no array of real numbers ({error}).") from error
    if not np.isfinite(x).all():
        raise InvalidInput(f"{name} holds NaN or infinite values; expected finite numbers.")
    return x


def pictures(x, name: str, dims: int) -> np.ndarray:
    """Turn a batch ``(batch, channels, *space)`` or one bare picture into a float64 batch; refuse other shapes."""
    x = array(x, name)
    if x.ndim == dims:
        x = x[None, None]
    if x.ndim != dims + 2 or not x.size:
        raise InvalidInput(f"{name} has shape {x.shape}; expected (batch, channels, *{dims} space axes) or the latter.")
    return x
