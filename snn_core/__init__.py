"""Spiking neurons, recurrent containers and stateful synapses for PyTorch, and the experiment that compares them."""

__version__ = "0.1.0"
