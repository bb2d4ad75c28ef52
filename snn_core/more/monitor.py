"""What neurons do while a network runs: their outputs and membrane potentials, step by step."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from snn_core import fuse
from snn_core.checks import check_flag, check_module, takes_sequences
from snn_core.module import MemoryModule
from snn_core.neuron import SpikingNeuron

__all__ = ["LayerActivity", "Monitor"]


class LayerActivity(NamedTuple):
    """How active one layer was, see :meth:`Monitor.summary`.

    ``name`` is that of ``named_modules``, ``kind`` its class, ``rate`` the mean output over steps, samples and neurons;
    ``silent`` and ``saturated`` are the shares of neurons that fired never, and in every step of every sample.
    """

    name: str
    kind: str
    rate: float
    silent: float
    saturated: float

    def __str__(self) -> str:
        shares = f"silent {self.silent:6.1%}  saturated {self.saturated:6.1%}"
        return f"{self.name:20} {self.kind:20} rate {self.rate:.4f}  {shares}"


class _Records(list[Tensor]):
    """Tensors without their history."""

    def append(self, steps: Tensor) -> None:
        super().append(steps.detach())


class Monitor:
    """Records the output of layers in every time step, without gradient, while the ``with`` block lasts.

    Neurons, synapses and recurrent containers stay fused. Other modules, and those whose class replaces ``forward``,
    are recorded by a forward hook. Records grow with every call of the network, and stay after the block.
    :meth:`clear` forgets them, ``reset_net`` does not.

    Args:
        net: any network.
        layers: neurons, synapses or containers in ``net`` to record, or their names as in ``net.named_modules()``;
            without any, every spiking neuron in ``net``.
        v: whether to record the membrane potential v[t] after the reset, too, of the spiking neurons among them.

    Attributes:
        outputs: name to outputs ``[T, N, *]``, of neurons their spikes, of all calls one after the other in time.
        v: name to membrane potentials v[t], ``[T, N, *]``.
        rates: name to the mean output in each time step, ``[T]``.

    Raises:
        TypeError: ``net`` is not a module, or ``v`` not a bool.
        ValueError: a layer is not one of ``net`` that knows time steps, or none is given and ``net`` has no neuron.
        RuntimeError: it is entered again before its end; or, from its attributes, a layer was not called, or with
            batches of different shapes.
    """

    def __init__(self, net: nn.Module, *layers: nn.Module | str, v: bool = False) -> None:
        by_name = dict(check_module("net", net).named_modules())
        names = {module: name or type(module).__name__ for name, module in by_name.items()}
        neurons = [module for module in names if isinstance(module, SpikingNeuron)]
        known = [module for module in names if isinstance(module, MemoryModule) or takes_sequences(module)]
        chosen: list[Any] = [by_name.get(one) if isinstance(one, str) else one for one in layers or neurons]
        if not chosen:
            raise ValueError(f"{type(net).__name__} has no spiking neuron: name the layers to record")
        if not all(module in known for module in chosen):
            allowed = ", ".join(names[module] for module in known)
            raise ValueError(f"layers must be modules in net that know time steps: {allowed}, got {layers}")
        self._modules = {names[module]: module for module in chosen}
        with_v = check_flag("v", v)
        self._neurons = [name for name, module in self._modules.items() if with_v and module in neurons]
        self._outputs = {name: _Records() for name in self._modules}
        self._v = {name: _Records() for name in self._neurons}
        self._handles: list[RemovableHandle] = []
        self._is_on = False

    def clear(self) -> None:
        """Forget all records."""
        for records in (*self._outputs.values(), *self._v.values()):
            records.clear()

    def __enter__(self) -> Monitor:
        if self._is_on:
            raise RuntimeError("this Monitor records already: leave its block before the next one")
        self._is_on = True
        for name, module in self._modules.items():
            if (
                isinstance(module, MemoryModule)
                and fuse.OUTPUT in module.recordable
                and not fuse.replaced(module)
            ):
                module._recorders += ((fuse.OUTPUT, self._outputs[name]),)
            else:
                self._handles.append(module.register_forward_hook(partial(self._keep, name)))
            if name in self._v:
                module._recorders += (("v", self._v[name]),)
        return self

    def __exit__(self, *_: object) -> None:
        own = (*self._outputs.values(), *self._v.values())
        for handle in self._handles:
            handle.remove()
        for module in self._modules.values():
            if isinstance(module, MemoryModule):
                kept = [one for one in module._recorders if not any(one[1] is records for records in own)]
                module._recorders = tuple(kept)
        self._handles, self._is_on = [], False

    def _keep(self, name: str, module: Any, inputs: Any, output: Tensor) -> None:
        if module is self._modules[name]:  # and no copy of it, as explain makes one
            steps = output if takes_sequences(module) else output.unsqueeze(0)
            self._outputs[name].append(steps.clone())  # the output may be changed in place

    @property
    def outputs(self) -> dict[str, Tensor]:
        return {name: _joined(name, records) for name, records in self._outputs.items()}

    @property
    def v(self) -> dict[str, Tensor]:
        return {name: _joined(name, records) for name, records in self._v.items()}

    @property
    def rates(self) -> dict[str, Tensor]:
        return {name: output.reshape(len(output), -1).mean(1) for name, output in self.outputs.items()}

    def summary(self) -> list[LayerActivity]:
        """Return how active each layer was in all recorded steps; ``print(*monitor.summary(), sep="\\n")`` shows it."""
        found = []
        for name, output in self.outputs.items():
            fired = output.flatten(0, min(1, output.dim() - 1)) != 0  # [T * N, *]
            shares = [share.float().mean().item() for share in (~fired.any(0), fired.all(0))]
            kind = type(self._modules[name]).__name__
            found.append(LayerActivity(name, kind, output.mean().item(), *shares))
        return found


def _joined(name: str, records: _Records) -> Tensor:
    if len({steps.shape[1:] for steps in records}) != 1:
        shapes = [list(steps.shape) for steps in records]
        raise RuntimeError(f"layer {name} must be called in the block, with one shape of steps, got {shapes}")
    return torch.cat(records)
