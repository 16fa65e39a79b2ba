"""Wavelet score-based generative modelling (Guth, Coste, De Bortoli & Mallat, 2022).

``from wavelab.wsgm import cascade, fields, theory``.
"""
