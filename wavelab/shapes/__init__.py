"""Three-dimensional shapes as wavelet coefficients of their signed distance, generated coarse first, then in detail."""
