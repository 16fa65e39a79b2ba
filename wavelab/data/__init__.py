"""Real data for the course: fetched once, verified, cached, loaded fast.

``fetch(id)`` returns a verified file; ``volumes``, ``images`` and ``signals`` return arrays ready for use.
The command ``python -m wavelab.data`` lists and fetches. ``data/README.md`` tells what each data set is.
"""

from wavelab.data.download import fetch, where
from wavelab.data.hounsfield import MU_WATER, WINDOWS, hu_to_mu, mu_to_hu, window
from wavelab.data.splits import split_slices

__all__ = ["MU_WATER", "WINDOWS", "fetch", "hu_to_mu", "mu_to_hu", "split_slices", "where", "window"]
