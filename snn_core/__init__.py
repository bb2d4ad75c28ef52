"""Spiking neurons, recurrent containers and stateful synapses for PyTorch, with fused kernels."""

__version__ = "0.2.0"

from snn_core import functional, layer, neuron, surrogate, synapse

__all__ = ["functional", "layer", "neuron", "surrogate", "synapse"]
