"""Wavelet score-based generative modelling (Guth, Coste, De Bortoli & Mallat, 2022).

``from wavelab.wsgm import cascade, fields, theory``: the cascade that is trained and sampled, Gaussian fields, and what
can be computed about both exactly. ``exact`` holds a cascade whose scores are known; ``phi4`` and ``linear`` the
lattice field of chapter 11.
"""
