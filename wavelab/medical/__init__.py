"""Medical imaging: CT and MRI physics, classical and learned reconstruction, the wavelet-improved score model."""
