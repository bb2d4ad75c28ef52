"""State that belongs to a module between two time steps: made by the first input, checked at every later one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from snn_core import fuse, kernels, reference, runs
from snn_core.cells import Cell
from snn_core.checks import Like, check_floating


def check_input(owner: nn.Module | None, x: Tensor) -> None:
    """Refuse an input that is not a floating-point tensor.

    Raises:
        TypeError: ``x`` is not a dense tensor of fp32, fp64, fp16 or bf16.
    """
    check_floating(f"{type(owner).__name__}: x" if owner else "x_seq", x)


def check_sequence(owner: nn.Module | None, x_seq: Tensor) -> None:
    """Refuse a sequence that does not have the shape ``[T, N, *]`` with at least one time step.

    Raises:
        TypeError: see :func:`check_input`.
        ValueError: ``x_seq`` has fewer than two dimensions, or T is 0.
    """
    check_input(owner, x_seq)
    name = f"{type(owner).__name__}: x_seq" if owner else "x_seq"
    if x_seq.dim() < 2:
        raise ValueError(f"{name} must have shape [T, N, *], got {list(x_seq.shape)}")
    if x_seq.shape[0] == 0:
        raise ValueError(f"{name} must have at least one time step, got shape {list(x_seq.shape)}")


class NotRecordedError(AttributeError, RuntimeError):
    """There is no record to return. An AttributeError, so that inspection of a module passes over it."""


class MemoryModule(nn.Module):
    """Base of all modules with state.

    A state is None until the first input gives it shape, device and dtype. It moves with ``.to(...)`` and is copied
    by ``copy.deepcopy`` (without its history), but it is neither a parameter nor a buffer: it belongs to the samples
    of one process, so it is not part of ``state_dict``, and DistributedDataParallel does not broadcast it.
    """

    def __init__(self) -> None:
        super().__init__()
        #: The names of the attributes that are states, in the order in which they were registered.
        self.state_names: tuple[str, ...] = ()
        #: What fuse.py has read off this module and its neighbours.
        self._runs: dict[Any, Any] = {}
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
        found = self._records.get(name)
        if not found:
            fix = "no step since reset" if found is not None else f"call record({name!r}) first"
            raise NotRecordedError(f"{type(self).__name__}: {name} was not recorded: {fix}")
        return found[0] if len(found) == 1 else torch.cat(found)

    def _record(self, name: str, steps: Tensor) -> None:
        for what, to in self._recorders:
            if what == name:
                to.append(steps)

    def register_state(self, name: str) -> None:
        """Declare the attribute ``name`` to be a state, None for now."""
        self.keep_state(name, None)
        self.state_names = (*self.state_names, name)

    def set_numbers(self, name: str, value: float | Tensor | None) -> None:
        """Keep numbers under a name: an ``nn.Parameter`` stays one, another tensor becomes a buffer."""
        if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
            self.register_buffer(name, value)
        else:
            setattr(self, name, value)

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
                state has moved on since the forward pass.
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
        for what in ("shape", "device", "dtype"):
            have, want = getattr(state, what), getattr(like, what)
            if have != want:
                if what == "shape":
                    have, want = list(have), list(want)
                raise ValueError(
                    f"{type(self).__name__}: state {name} has {what} {have}, input needs {want}: "
                    "call reset_net(net) between batches"
                )
        if torch.compiler.is_compiling():
            return state
        if torch.is_grad_enabled() and torch._C._current_graph_task_id() != -1:
            raise RuntimeError(
                f"{type(self).__name__}: state {name} has changed since the forward pass that is now computed again: "
                "call reset_net(net) at the start of the function that is checkpointed"
            )
        # Autograd cannot save a tensor of torch.inference_mode.
        return state.clone() if state.is_inference() and not torch.is_inference_mode_enabled() else state

    def keep_state(self, name: str, value: Tensor | None) -> None:
        """Set the state ``name``, without the checks of ``nn.Module``, which take longer than a small kernel."""
        self.__dict__[name] = value

    def reset(self) -> None:
        """Forget all state; the next input starts afresh."""
        self.__dict__.update(dict.fromkeys(self.state_names))
        for records in self._records.values():
            records.clear()

    def detach(self) -> None:
        """Keep the state, cut its history."""
        self._map_state(Tensor.detach)

    def _map_state(self, function: Callable[[Tensor], Tensor]) -> None:
        for name in self.state_names:
            state = self.__dict__.get(name)  # a parameter set as the first state is torch's to move
            if state is not None:
                self.keep_state(name, function(state))
        for records in self._records.values():
            records[:] = map(function, records)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        self._map_state(fn)
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        # Of several saved numbers for one, some releases of torch silently take the first.
        for name, own in (*self._parameters.items(), *self._buffers.items()):
            saved = state_dict.get(prefix + name)
            if isinstance(saved, Tensor) and isinstance(own, Tensor) and saved.dim() > own.dim() == 0:
                sizes = f"{list(saved.shape)} saved, {list(own.shape)} here"
                arguments[-1].append(f"size mismatch for {prefix}{name}: {sizes}")
                return
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def __getstate__(self) -> dict[str, Any]:
        # deepcopy and pickle refuse tensors in the middle of a graph: a copy holds the values, not the history.
        records = {name: [one.detach() for one in kept] for name, kept in self._records.items()}
        state = dict(self.__dict__) | {"_runs": {}, "_records": records, "_recorders": (*records.items(),)}
        kept = {name: state[name] for name in self.state_names if state.get(name) is not None}
        return state | {name: value.detach() for name, value in kept.items()}

    def forward_sequence(self, x_seq: Tensor) -> Tensor:
        """Apply the module to ``x_seq`` of shape ``[T, N, *]``, one time step after the other."""
        check_sequence(self, x_seq)
        return torch.stack([self(x) for x in x_seq])


def has_state(module: nn.Module) -> bool:
    """Say whether a module, or a part of it, has a state."""
    return any(isinstance(part, MemoryModule) for part in module.modules())


class CellModule(MemoryModule):
    """Base of the modules whose equations are those of a cell: they run it, and keep its states.

    A subclass names its states in ``states``, in the order of the cell's, and builds the cell in :meth:`cell`.
    """

    states: tuple[str, ...] = ()
    backend: str

    def __init__(self, backend_name: str = "auto") -> None:
        super().__init__()
        self.backend = kernels.check_backend(backend_name)
        for name in self.states:
            self.register_state(name)

    @property
    def recordable(self) -> tuple[str, ...]:
        return (*self.states, fuse.OUTPUT)

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
        check_input(self, x)
        cell = self.cell(x)
        y, state = cell.step(x, self._before(cell, x))
        self._keep(reference.apart(state, x), y)
        for name, to in self._recorders:
            to.append((y.clone() if name == fuse.OUTPUT else getattr(self, name)).unsqueeze(0))
        return y

    def forward_sequence(self, x_seq: Tensor) -> Tensor:
        """Take T time steps at once; equals T calls of the single step.

        Args:
            x_seq: inputs, ``[T, N, *]`` with T >= 1.

        Returns:
            Outputs, ``[T, N, *]``.

        Raises:
            TypeError, ValueError: as for the single step, or ``x_seq`` is not ``[T, N, *]``.
        """
        check_sequence(self, x_seq)
        like = Like(x_seq.shape[1:], x_seq.dtype, x_seq.device)
        return runs.alone(self, x_seq, lambda x_seq: self._loop(x_seq, like))

    def _loop(self, x_seq: Tensor, like: Like) -> Tensor:
        if self._recorders:
            return torch.stack([CellModule.forward(self, x) for x in x_seq])
        cell = self.cell(like)
        y_seq, state = reference.scan(cell.step, x_seq, self._before(cell, like))
        self._keep(state, y_seq)
        return y_seq

    def part(self, like: Like) -> fuse.Part | str:
        """Return what stands for this module in a fused scan, or why it takes the loop."""
        reason = kernels.why_not(self.backend, like)
        if reason:
            return reason
        self._firsts(self.cell(like))
        return fuse.of_cell(self, lambda: self.cell(like), like, [(self, name) for name in self.states])

    def _firsts(self, cell: Cell) -> tuple[float | Tensor, ...]:
        """Return the first value of each state."""
        firsts, name = cell.initial, type(self).__name__
        if len(firsts) != len(self.states):
            raise ValueError(
                f"{name}: its cell has {len(firsts)} states, the module names {len(self.states)}, "
                f"{', '.join(self.states)}: options that add a state cannot change"
            )
        return firsts

    def _before(self, cell: Cell, like: Tensor | Like) -> tuple[Tensor, ...]:
        firsts = zip(self.states, self._firsts(cell), strict=True)
        return tuple(self.checked_state(name, like, first) for name, first in firsts)

    def _keep(self, state: tuple[Tensor, ...], y: Tensor) -> None:
        for name, value in zip(self.states, state, strict=True):
            # The output may be changed in place.
            self.keep_state(name, value.clone() if value is y else value)
