"""The kernels for NVIDIA GPUs, compiled by CuPy."""
