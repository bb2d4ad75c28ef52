"""What modules share: states, their records, numbers that are fixed or trained, and the cell that they run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snn_core import fuse, kernels, reference
from snn_core.cells import Cell, Number
from snn_core.checks import (
    Like,
    check_floating,
    check_numbers,
    check_place,
    check_sequence,
    takes_sequences,
)

__all__ = ["CellModule", "MemoryModule", "NotRecordedError", "Numbers", "NumbersModule"]

#: A number, which is fixed, or a list or tensor, one for each neuron or channel and fixed, or an ``nn.Parameter``,
#: which is trained.
Numbers = float | Sequence[float] | Tensor
#: What checks an attribute, by its name: takes what errors call it, and the value, and returns what is set.
Checks = dict[str, Callable[[str, Any], Any]]


class NotRecordedError(AttributeError, RuntimeError):
    """There is no record to return. An AttributeError, so that inspection of a module passes over it."""


class MemoryModule(nn.Module):
    """Base of all modules with state.

    A state is None until the first input gives it shape, device and dtype. It moves with ``.to(...)`` and is copied
    by ``copy.deepcopy`` (without its history), but it is neither a parameter nor a buffer: it belongs to the samples
    of one process, so it is not part of ``state_dict``, and DistributedDataParallel does not broadcast it.
    """

    backend: str = "auto"

    def __init__(self) -> None:
        super().__init__()
        #: The names of the attributes that are states, in the order in which they were registered.
        self.state_names: tuple[str, ...] = ()
        #: What :meth:`record` was asked for; and everything that gets steps, these lists and those of monitors.
        self._records: dict[str, list[Tensor]] = {}
        self._recorders: tuple[tuple[str, list[Tensor]], ...] = ()

    @property
    def recordable(self) -> tuple[str, ...]:
        """The names that :meth:`record` takes."""
        return ()

    def record(self, *names: str) -> None:
        """Keep all further steps of some states, and of ``"output"``, for :meth:`recorded`; no name stops it.

        Raises:
            ValueError: a name that is not one of :attr:`recordable`.
        """
        unknown = [name for name in names if name not in self.recordable]
        if unknown:
            allowed = ", ".join(map(repr, self.recordable)) or "nothing"
            raise ValueError(f"{type(self).__name__}: names must be of {allowed}, got {unknown[0]!r}")
        others = [one for one in self._recorders if not any(one[1] is own for own in self._records.values())]
        self._records = {name: self._records.get(name, []) for name in names}
        self._recorders = (*others, *self._records.items())

    def recorded(self, name: str) -> Tensor:
        """Return every step since the last reset of what :meth:`record` was asked for, ``[T, N, *]``.

        Raises:
            NotRecordedError: there is none.
        """
        steps = self._records.get(name)
        if not steps:
            fix = "no step since reset" if steps is not None else f"call record({name!r}) first"
            raise NotRecordedError(f"{type(self).__name__}: {name} was not recorded: {fix}")
        return steps[0] if len(steps) == 1 else torch.cat(steps)

    def _record(self, name: str, steps: Tensor) -> None:
        for what, to in self._recorders:
            if what == name:
                to.append(steps)

    def register_state(self, name: str) -> None:
        """Declare the attribute ``name`` to be a state, None for now."""
        self.__dict__[name] = None
        self.state_names = (*self.state_names, name)

    def checked_state(self, name: str, like: Tensor | Like, default: float | Tensor) -> Tensor:
        """Return the state ``name``, or a new one filled with ``default`` if there is none yet.

        Args:
            name: a registered state.
            like: the shape, device and dtype that the state must have.
            default: initial value.

        Raises:
            TypeError: the state was set to something that is not a tensor.
            ValueError: the state comes from an input of another shape, device or dtype.
            RuntimeError: this is a recomputation within a backward pass, as of ``torch.utils.checkpoint``, and the
                state is one from after the forward pass.
        """
        state = self.kept_state(name, like)
        if state is not None:
            return state
        if isinstance(default, Tensor):  # learnable, so it keeps its gradient
            return default.to(like.device, like.dtype).expand(like.shape).clone()
        return torch.full(like.shape, default, dtype=like.dtype, device=like.device)

    def kept_state(self, name: str, like: Tensor | Like) -> Tensor | None:
        """Return the state ``name``, checked as in :meth:`checked_state`, or None if there is none yet."""
        state = getattr(self, name)
        if state is None:
            return None
        if not isinstance(state, Tensor):
            raise TypeError(
                f"{type(self).__name__}: state {name} must be a tensor, got {type(state).__name__}"
            )
        if state.shape != like.shape or state.dtype != like.dtype or state.device != like.device:
            if state.shape != like.shape:
                have, want = f"shape {list(state.shape)}", f"{list(like.shape)}"
            else:
                have, want = (f"{one.dtype} on {one.device}" for one in (state, like))
            raise ValueError(
                f"{type(self).__name__}: state {name} has {have}, the input needs {want}: call reset_net(net) between "
                "batches"
            )
        if torch.compiler.is_compiling():
            return state
        task = torch._C._current_graph_task_id()
        if task != -1 and torch.is_grad_enabled() and self.__dict__.get("_recomputed_in") != task:
            raise RuntimeError(
                f"{type(self).__name__}: state {name} has changed since the forward pass that is now computed again: "
                "call reset_net(net) at the start of the function that is checkpointed"
            )
        # Autograd cannot save a tensor of torch.inference_mode.
        return state.clone() if state.is_inference() and not torch.is_inference_mode_enabled() else state

    def keep_state(self, name: str, value: Tensor | None, task: int | None = None) -> None:
        """Set the state ``name``, without the checks of ``nn.Module``, which take longer than a small kernel.

        ``task`` is that of autograd's engine, -1 outside a backward pass; None asks for it.
        """
        self.__dict__[name] = value
        if task is None:
            task = -1 if torch.compiler.is_compiling() else torch._C._current_graph_task_id()
        if task != -1:  # a recomputation continues from the states that it has made itself
            self.__dict__["_recomputed_in"] = task

    def reset(self) -> None:
        """Forget all state; the next input starts afresh, from a state that was set to an ``nn.Parameter`` at that."""
        self.__dict__.update(dict.fromkeys(self.state_names))
        for name in self._parameters.keys() & self.state_names:
            del self.__dict__[name]
        for records in self._records.values():
            records.clear()

    def detach(self) -> None:
        """Keep the state, cut its history."""
        self._map_state(Tensor.detach)

    def _map_state(self, function: Callable[[Tensor], Tensor]) -> None:
        for name in self.state_names:
            state = self.__dict__.get(name)  # a parameter set as the first state is torch's to move
            if state is not None:
                self.__dict__[name] = function(state)
        for records in self._records.values():
            records[:] = map(function, records)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        self._map_state(fn)
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        # deepcopy and pickle refuse tensors in the middle of a graph: a copy holds the values, not the history.
        records = {name: [one.detach() for one in kept] for name, kept in self._records.items()}
        state = dict(self.__dict__) | {"_records": records, "_recorders": (*records.items(),)}
        kept = {name: state[name] for name in self.state_names if state.get(name) is not None}
        return state | {name: value.detach() for name, value in kept.items()}

    def stage(self, like: Like) -> kernels.Stage | str:
        """Return the stage of this module in a fused scan, or why it falls back to the loop."""
        return f"no kernel knows {type(self).__name__}: write its equations as a Cell"

    def forward_sequence(self, x_seq: Tensor) -> Tensor:
        """Take T time steps at once; equals T calls of the single step.

        Args:
            x_seq: inputs, ``[T, N, *]`` with T >= 1.

        Returns:
            Outputs, ``[T, N, *]``.

        Raises:
            TypeError, ValueError: as for the single step, or ``x_seq`` is not ``[T, N, *]``.
        """
        return fuse.alone(self, check_sequence(f"{type(self).__name__}: x_seq", x_seq))

    def loop(self, x_seq: Tensor) -> Tensor:
        """Take T time steps, one after the other: what :meth:`forward_sequence` must equal."""
        return self.steps(x_seq)

    def steps(self, x_seq: Tensor) -> Tensor:
        """Call the single step T times."""
        return torch.stack([self(x) for x in x_seq])


def check_taus(name: str, value: Any, is_trained: bool = False) -> float | Tensor:
    """Return time constants in time steps: from 1, no memory, to infinity, no leak; those that are trained, between.

    Raises:
        TypeError, ValueError: one is out of its range, or as :func:`~snn_core.checks.check_numbers`.
    """
    taus = check_numbers(name, value, finite=False)
    fits = torch.as_tensor((taus > 1) & (taus < torch.inf) if is_trained else taus >= 1)
    if not fits.is_meta and not bool(fits.all()):
        allowed = "above 1 and finite, since it is trained" if is_trained else "from 1 to infinity"
        given = taus.tolist() if isinstance(taus, Tensor) else taus
        raise ValueError(f"{name} must be {allowed}, got {given}")
    return taus


def weight_of(taus: Tensor) -> Tensor:
    r"""Return w, as which time constants are trained, :math:`1/\tau = \sigma(w)`: so they stay above 1."""
    return -torch.log(taus.detach() - 1)


def per_neuron(name: str, numbers: Number, x: Tensor | Like) -> Number:
    """Return numbers in the dtype of a time step ``x``, ``[N, *]``, and in a shape that broadcasts to it.

    A float is returned as it is. A tensor has one number for all neurons, one for each neuron of a sample, in the shape
    of a sample, or one for each channel, ``[C]`` of ``[N, C, *]``.

    Raises:
        ValueError: it has another shape, or ``x`` is on another device.
    """
    if not isinstance(numbers, Tensor):
        return numbers
    check_place(name.split(":")[0] + ": x", x, numbers, dtype=False)
    if numbers.dim() and numbers.shape != x.shape[1:]:
        if numbers.dim() != 1 or len(x.shape) < 3 or len(numbers) != x.shape[1]:
            own = ", ".join(map(str, numbers.shape))
            wanted = f"[N, {own}]" + f" or [N, {own}, *]" * (numbers.dim() == 1)
            raise ValueError(
                f"{name} has shape {list(numbers.shape)}, so a time step must have shape {wanted}, got {list(x.shape)}"
            )
        numbers = numbers.view(-1, *[1] * (len(x.shape) - 2))
    return numbers.to(x.dtype)


class NumbersModule(MemoryModule):
    r"""Base of the modules that have numbers, for all neurons or for each, fixed or trained.

    What ``checked`` names is checked whenever it is set, in the constructor and later. Of the numbers among it a float
    stays an attribute, several become a buffer, and an ``nn.Parameter`` stays one, under the same name. A trained
    number stays trained: a number that is set gives its value. A time constant that is trained is kept as another
    parameter, which ``taus`` names, w of :math:`1/\tau = \sigma(w)`, so that it stays above 1 whatever the optimizer
    does.
    """

    #: What checks an attribute when it is set.
    checked: Checks = {"backend": kernels.check_backend}
    #: The attributes that are time constants, and the parameters that keep them where they are trained.
    taus: dict[str, str] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        kind = type(self)
        if name in kind.taus:
            self._set_tau(f"{kind.__name__}: {name}", name, kind.taus[name], value)
        elif name not in kind.checked:
            super().__setattr__(name, value)
        else:
            value = kind.checked[name](f"{kind.__name__}: {name}", value)
            self.check_with_others(name, value)
            if isinstance(value, nn.Module):
                super().__setattr__(name, value)
            else:
                self._set(name, value)

    def check_with_others(self, name: str, value: Any) -> None:
        """Refuse a checked value that does not fit those that are set already."""

    def _set(self, name: str, value: Any) -> None:
        trained = self._parameters.get(name)
        if trained is not None and value is not None and not isinstance(value, nn.Parameter):
            with torch.no_grad():
                trained.copy_(torch.as_tensor(value))
            return
        for place in (self._parameters, self._buffers, self._modules, self.__dict__):
            place.pop(name, None)
        if isinstance(value, nn.Parameter):
            self.register_parameter(name, value)
        elif isinstance(value, Tensor):
            self.register_buffer(name, value)
        else:
            self.__dict__[name] = value

    def _set_tau(self, said: str, name: str, trained: str, value: Any) -> None:
        is_trained = isinstance(value, nn.Parameter) or self._trained(name) is not None
        taus = check_taus(said, value, is_trained)
        if not is_trained:
            return self._set(name, taus)
        weight = weight_of(torch.as_tensor(taus))
        for place in (self._buffers, self.__dict__):
            place.pop(name, None)
        return self._set(trained, nn.Parameter(weight) if isinstance(value, nn.Parameter) else weight)

    def _trained(self, name: str) -> Tensor | None:
        """Return w of a time constant that is trained, also one that is parametrized; None of a fixed one."""
        trained, kept = type(self).taus[name], self.__dict__.get("_parameters", {})
        if trained in kept:
            return kept[trained]
        is_computed = trained in self.__dict__.get("_modules", {}).get("parametrizations", ())
        return getattr(self, trained) if is_computed else None

    def __getattr__(self, name: str) -> Any:
        if name in type(self).taus and (trained := self._trained(name)) is not None:
            return 1 / torch.sigmoid(trained)
        return super().__getattr__(name)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        # Of several saved numbers for one torch silently takes the first.
        for name, own in (*self._parameters.items(), *self._buffers.items()):
            saved = state_dict.get(prefix + name)
            if isinstance(saved, Tensor) and isinstance(own, Tensor) and saved.dim() > own.dim() == 0:
                sizes = f"{list(saved.shape)} saved, {list(own.shape)} here"
                arguments[-1].append(f"size mismatch for {prefix}{name}: {sizes}")
                return
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def number(self, name: str, like: Tensor | Like) -> Number:
        """Return a number for a cell: a float, or a tensor in the dtype of a step; see :func:`per_neuron`."""
        value = getattr(self, name)
        return value if type(value) is float else per_neuron(f"{type(self).__name__}: {name}", value, like)

    def inv_tau(self, name: str, like: Tensor | Like) -> Number:
        """Return 1/tau of a time constant, as :meth:`number` does."""
        trained = self._trained(name)
        value = 1 / getattr(self, name) if trained is None else torch.sigmoid(trained)
        return value if type(value) is float else per_neuron(f"{type(self).__name__}: {name}", value, like)

    def shown(self, name: str) -> str:
        """Return ``name=value``, for ``extra_repr``; of several numbers the shape."""
        value = getattr(self, name)
        if isinstance(value, Tensor):
            value = f"<{list(value.shape)}>" if value.dim() else value.item()
        is_trained = name in self._parameters or (name in type(self).taus and self._trained(name) is not None)
        return f"{name}={value}{' (trained)' * is_trained}"


class CellModule(NumbersModule):
    """Base of the modules whose equations are those of a cell: they run it, and keep its states.

    A subclass names its states in ``states``, in the order of the cell's, and builds the cell in :meth:`cell`.
    """

    states: tuple[str, ...] = ()

    def __init__(self, backend: str = "auto") -> None:
        super().__init__()
        self.backend = backend
        for name in self.states:
            self.register_state(name)

    @property
    def recordable(self) -> tuple[str, ...]:
        return (*self.state_names, fuse.OUTPUT)

    def cell(self, like: Tensor | Like) -> Cell:
        """Return the cell for time steps like ``like``: the numbers and parameters of this module at this moment."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Take one time step.

        Args:
            x: input x[t], ``[N, *]`` or any other shape, down to 0-dim.

        Returns:
            Output y[t], shape and dtype of ``x``.

        Raises:
            TypeError: ``x`` is not a floating-point tensor.
            ValueError: the state comes from an input of another shape, device or dtype.
        """
        cell = self.cell(check_floating(f"{type(self).__name__}: x", x))
        y, state = cell.step(x, _states_before(self, cell, x))
        _keep_states(self, reference.apart(state, x), y)
        for name, to in self._recorders:
            # A copy, since the output and the state may be changed in place.
            to.append((y if name == fuse.OUTPUT else getattr(self, name)).clone().unsqueeze(0))
        return y

    def loop(self, x_seq: Tensor) -> Tensor:
        if not takes_sequences(self) and fuse.replaced(self):
            return super().loop(x_seq)
        if self._recorders:
            return torch.stack([CellModule.forward(self, x) for x in x_seq])
        like = fuse.like_of(x_seq)
        cell = self.cell(like)
        y_seq, state = reference.loop(cell.step, x_seq, _states_before(self, cell, like))
        _keep_states(self, state, y_seq)
        return y_seq

    def stage(self, like: Like) -> kernels.Stage | str:
        reason = kernels.why_not(self.backend, like.device, like.dtype)
        return reason or fuse.of_cell(
            self, self.cell(like), like, [(self, name, None) for name in self.state_names]
        )

    def first_values(self, cell: Cell) -> tuple[float | Tensor, ...]:
        """Return the first value of each state."""
        firsts, names = cell.initial, self.state_names
        if len(firsts) != len(names):
            raise ValueError(
                f"{type(self).__name__}: its cell has {len(firsts)} states, the module names {len(names)}, "
                f"{', '.join(names)}: options that add a state cannot change"
            )
        return firsts


def _states_before(module: CellModule, cell: Cell, like: Tensor | Like) -> tuple[Tensor, ...]:
    pairs = zip(module.state_names, module.first_values(cell), strict=True)
    return tuple(module.checked_state(name, like, first) for name, first in pairs)


def _keep_states(module: CellModule, state: tuple[Tensor, ...], y: Tensor) -> None:
    for name, value in zip(module.state_names, state, strict=True):
        # The output may be changed in place.
        module.keep_state(name, value.clone() if value is y else value)


class MultiStep(CellModule):
    """Makes the whole sequence ``[T, N, *]`` the input of ``forward``."""

    takes_sequences = True
    stage = CellModule.stage  #: It replaces this ``forward``, too.

    def forward(self, x_seq: Tensor) -> Tensor:
        """Take T time steps; see :meth:`MemoryModule.forward_sequence`."""
        return self.forward_sequence(x_seq)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, backend={self.backend}"
