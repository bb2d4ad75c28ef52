"""What neurons do while a network runs: their outputs and membrane potentials, step by step."""

from __future__ import annotations

from types import TracebackType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from snn_core.checks import check_flag, check_module, check_tensor
from snn_core.neuron import SpikingNeuron
from snn_core.state import MemoryModule

__all__ = ["LayerActivity", "Monitor"]


class LayerActivity(NamedTuple):
    """How active one layer was, see :meth:`Monitor.summary`.

    ``name`` is that of ``named_modules``, ``kind`` its class, ``rate`` the mean output over steps, samples and neurons,
    which for spikes is their number for each neuron and step. ``silent`` is the share of neurons that never fired,
    ``saturated`` that of neurons that fired in every step of every sample, both from 0 to 1.
    """

    name: str
    kind: str
    rate: float
    silent: float
    saturated: float

    def __str__(self) -> str:
        shares = f"silent {self.silent:6.1%}  saturated {self.saturated:6.1%}"
        return f"{self.name:20} {self.kind:20} rate {self.rate:.4f}  {shares}"


class Monitor:
    """Records the output of layers in every time step, while the ``with`` block lasts.

    It works by forward hooks, which read and change nothing, and which are removed at the end of the block. A module
    with a hook is not fused, and neither is a container around it, which :func:`snn_core.functional.explain` reports:
    inside the block they take the readable loop. A network that runs in the loop gives the same bits with and without
    a monitor; one that is fused otherwise, whose sums have another order, gives the same up to rounding.

    Records grow with every call of the network. :meth:`clear` forgets them; :func:`~snn_core.functional.reset_net` does
    not. They stay after the block.

    Args:
        net: any network.
        layers: neurons, synapses or containers in ``net`` to record, or their names as in ``net.named_modules()``;
            without any, every spiking neuron in ``net``.
        v: whether to record the membrane potential v[t] after the reset, too, of the layers that have one.
        gradient: whether records keep their history, for a loss that contains them. Else they are detached.

    Attributes:
        outputs: name to outputs ``[T, N, *]``, of neurons their spikes, of all calls one after the other in time.
        v: name to membrane potentials v[t], ``[T, N, *]``.
        rates: name to the mean output in each time step, ``[T]``.

    Raises:
        TypeError: ``net`` is not a module, a layer is neither a module nor a name, or is one that takes all time steps
            as one batch, such as ``nn.Linear``, or a flag is not a bool.
        ValueError: a layer is not a part of ``net``, or none is given and ``net`` has no spiking neuron.
        RuntimeError: it is entered a second time before its end; or, from the attributes, a layer was not called, or
            with batches of different shapes.
    """

    def __init__(
        self, net: nn.Module, *layers: nn.Module | str, v: bool = False, gradient: bool = False
    ) -> None:
        names = {
            module: name or type(module).__name__ for name, module in check_module("net", net).named_modules()
        }
        chosen = [_part(net, names, layer) for layer in layers] or [
            m for m in names if isinstance(m, SpikingNeuron)
        ]
        if not chosen:
            raise ValueError(
                f"net must have a spiking neuron, {type(net).__name__} has none: name the layers to record"
            )
        self._modules = {names[module]: module for module in chosen}
        self._with_v, self._gradient = check_flag("v", v), check_flag("gradient", gradient)
        self._handles: list[RemovableHandle] = []
        self._stored: list[tuple[SpikingNeuron, bool]] = []
        self.clear()

    def clear(self) -> None:
        """Forget all records."""
        self._outputs: dict[str, list[Tensor]] = {name: [] for name in self._modules}
        self._v: dict[str, list[Tensor]] = {
            name: [] for name, module in self._modules.items() if self._with_v and _has_v(module)
        }

    def __enter__(self) -> Monitor:
        if self._handles:
            raise RuntimeError("this Monitor records already: leave its block before the next one")
        for name, module in self._modules.items():
            # Of a sequence, only the neuron itself sees v between two steps.
            if name in self._v and _takes_sequences(module):
                self._stored.append((module, module.store_v_seq))
                module.store_v_seq = True
            self._handles.append(module.register_forward_hook(self._hook(name)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        for neuron, stored in self._stored:
            neuron.store_v_seq = stored
        self._handles, self._stored = [], []

    def _hook(self, name: str) -> Any:
        def keep(module: Any, inputs: Any, output: Tensor) -> None:
            if module is not self._modules[name]:  # a copy of the network, as explain makes one
                return
            check_tensor(f"the output of layer {name}", output)
            steps = output if _takes_sequences(module) else output.unsqueeze(0)
            self._outputs[name].append(self._kept(steps))
            if name in self._v:
                v = module.v_seq[-len(steps) :] if _takes_sequences(module) else module.v.unsqueeze(0)
                self._v[name].append(self._kept(v))
                if (module, False) in self._stored:
                    module._v_records = []

        return keep

    def _kept(self, steps: Tensor) -> Tensor:
        # A copy, since the output may be changed in place.
        return (steps if self._gradient else steps.detach()).clone()

    @property
    def outputs(self) -> dict[str, Tensor]:
        return {name: _joined(name, records) for name, records in self._outputs.items()}

    @property
    def v(self) -> dict[str, Tensor]:
        return {name: _joined(name, records) for name, records in self._v.items()}

    @property
    def rates(self) -> dict[str, Tensor]:
        return {
            name: _joined(name, [steps.reshape(len(steps), -1).mean(1) for steps in records])
            for name, records in self._outputs.items()
        }

    def summary(self) -> list[LayerActivity]:
        """Return how active each layer was in all recorded steps; ``print(*monitor.summary(), sep="\\n")`` shows it.

        Batches may differ in their number of samples.

        Raises:
            RuntimeError: a layer was not called, or with samples of different shapes.
        """
        found = []
        for name, records in self._outputs.items():
            output = _joined(
                name, [steps.flatten(0, min(1, steps.dim() - 1)) for steps in records]
            )  # [T * N, *]
            fired = output != 0
            shares = [share.float().mean().item() for share in (~fired.any(0), fired.all(0))]
            kind = type(self._modules[name]).__name__
            found.append(LayerActivity(name, kind, output.detach().mean().item(), *shares))
        return found


def _part(net: nn.Module, names: dict[nn.Module, str], layer: object) -> Any:
    """Return the module that ``layer`` is or names."""
    if isinstance(layer, str):
        layer = dict(net.named_modules()).get(layer, layer)
    elif not isinstance(layer, nn.Module):
        raise TypeError(f"layers must be modules or their names, got {type(layer).__name__}")
    if layer not in names:
        given = repr(layer) if isinstance(layer, str) else f"a {type(layer).__name__} outside of it"
        allowed = ", ".join(name for module, name in names.items() if _knows_steps(module))
        raise ValueError(f"layers must be parts of net, such as {allowed}, got {given}")
    if not _knows_steps(layer):
        raise TypeError(
            f"layers must be neurons, synapses or containers, which know time steps, got {type(layer).__name__}"
        )
    return layer


def _knows_steps(module: object) -> bool:
    return isinstance(module, MemoryModule) or _takes_sequences(module)


def _takes_sequences(module: object) -> bool:
    return getattr(type(module), "takes_sequences", False)


def _has_v(module: Any) -> bool:
    """Say whether v of every step can be read: of any neuron, of other modules only where they take single steps."""
    return isinstance(module, SpikingNeuron) or (
        "v" in getattr(module, "_state_names", ()) and not _takes_sequences(module)
    )


def _joined(name: str, records: list[Tensor]) -> Tensor:
    if not records:
        raise RuntimeError(f"layer {name} was not called: run the network inside the block of the Monitor")
    shapes = {tuple(steps.shape[1:]) for steps in records}
    if len(shapes) > 1:
        shown = ", ".join(str(list(shape)) for shape in sorted(shapes))
        raise RuntimeError(
            f"layer {name} was called with steps of shapes {shown}: call clear() between batches"
        )
    return torch.cat(records)
