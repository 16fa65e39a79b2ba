"""Wavelet diffusion, from Fourier to three methods: the package of the course.

Import the rooms you need: ``from wavelab import wavelets``, ``from wavelab.data import volumes``.
"""

__version__ = "0.1.0"
