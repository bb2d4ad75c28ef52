"""State that belongs to a module between two time steps: made by the first input, checked at every later one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from snn_core.checks import check_floating


def check_input(owner: nn.Module, x: Tensor) -> None:
    """Refuse an input that is not a floating-point tensor.

    Raises:
        TypeError: ``x`` is not a dense tensor of fp32, fp64, fp16 or bf16.
    """
    check_floating(f"{type(owner).__name__}: x", x)


def check_sequence(owner: nn.Module, x_seq: Tensor, features: str = "*") -> None:
    """Refuse a sequence that does not have the shape ``[T, N, *]`` with at least one time step.

    Raises:
        TypeError: see :func:`check_input`.
        ValueError: ``x_seq`` has fewer than two dimensions, or T is 0.
    """
    check_input(owner, x_seq)
    name = type(owner).__name__
    if x_seq.dim() < 2:
        raise ValueError(f"{name}: x_seq must have shape [T, N, {features}], got {list(x_seq.shape)}")
    if x_seq.shape[0] == 0:
        raise ValueError(f"{name}: x_seq must have at least one time step, got shape {list(x_seq.shape)}")


class MemoryModule(nn.Module):
    """Base of all modules with state.

    A state is None until the first input gives it shape, device and dtype. It moves with ``.to(...)`` and is copied
    by ``copy.deepcopy`` (without its history), but it is neither a parameter nor a buffer: it belongs to the samples
    of one process, so it is not part of ``state_dict``, and DistributedDataParallel does not broadcast it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._state_names: list[str] = []

    def register_state(self, name: str) -> None:
        """Declare the attribute ``name`` to be a state, None for now."""
        self.keep_state(name, None)
        self._state_names.append(name)

    def checked_state(self, name: str, like: Tensor, default: float | Tensor) -> Tensor:
        """Return the state ``name``, or a new one filled with ``default`` if there is none yet.

        Args:
            name: a registered state.
            like: tensor whose shape, device and dtype the state must have.
            default: initial value.

        Raises:
            TypeError: the state was set to something that is not a tensor.
            ValueError: the state comes from an input of another shape, device or dtype.
            RuntimeError: this is a recomputation within a backward pass, as of ``torch.utils.checkpoint``, and the
                state has moved on since the forward pass.
        """
        state = getattr(self, name)
        if state is None:
            if isinstance(default, Tensor):  # learnable, so it keeps its gradient
                return default.to(like).expand_as(like).clone()
            return torch.full_like(like, default)
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
        for name in self._state_names:
            self.keep_state(name, None)

    def detach(self) -> None:
        """Keep the state, cut its history."""
        self._map_state(Tensor.detach)

    def _map_state(self, function: Callable[[Tensor], Tensor]) -> None:
        for name in self._state_names:
            state = self.__dict__.get(name)  # a parameter set as the first state is torch's to move
            if state is not None:
                self.keep_state(name, function(state))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        self._map_state(fn)
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        # deepcopy and pickle refuse tensors in the middle of a graph: a copy holds the values, not the history.
        state = dict(self.__dict__)
        kept = {name: state[name] for name in self._state_names if state.get(name) is not None}
        return state | {name: value.detach() for name, value in kept.items()}

    def forward_sequence(self, x_seq: Tensor) -> Tensor:
        """Apply the module to ``x_seq`` of shape ``[T, N, *]``, one time step after the other."""
        check_sequence(self, x_seq)
        return torch.stack([self(x) for x in x_seq])
