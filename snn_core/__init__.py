"""Spiking neurons, recurrent containers and stateful synapses for PyTorch, with fused kernels.

To read it in an evening: ``surrogate`` and ``cells`` have the equations, ``reference`` the loop that defines
everything, ``module`` what modules share; ``neuron``, ``synapse``, ``recurrent`` and ``layer`` are the modules,
``functional`` runs them. You may stop there. ``fuse`` decides what runs in ``kernels/``, described in its README;
``more/`` is what the text does not have.
"""

__version__ = "0.2.0"

from snn_core import functional, layer, neuron, surrogate, synapse

__all__ = ["functional", "layer", "neuron", "surrogate", "synapse"]
