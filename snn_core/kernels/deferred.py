"""One scan for a network that is written by hand, and one kernel for its loss and all gradients.

A network's ``forward`` calls one layer after the other. Under :func:`call` a layer that a plan knows does not run at
once: it returns a :class:`Deferred` sequence, to which the next layer adds its own stages. Whatever else asks for the
numbers of a deferred sequence, or for a state, gets them, since that runs the scan. So the result is the same for any
``forward``, and a chain of known layers has become one plan by its end.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from snn_core.kernels import plan

#: What may be asked of a deferred sequence without running it.
_METADATA = {
    *(getattr(Tensor, name).__get__ for name in ("shape", "dtype", "device", "ndim", "layout", "is_nested")),
    Tensor.dim,
    Tensor.size,
    Tensor.numel,
    Tensor.__len__,
    Tensor.is_floating_point,
}


class _Call:
    """What became deferred while a function was called: results, and the modules whose states wait for a run."""

    def __init__(self) -> None:
        self.results: list[weakref.ref[Deferred]] = []
        self.owners: list[Any] = []


_current: _Call | None = None


class _Run:
    """A scan that has still to run: its input and its stages."""

    def __init__(self, source: Tensor, parts: list[plan.Part]) -> None:
        self.source, self.parts = source, plan.merged(parts)
        self.tensors = [one for part in self.parts for one in part.tensors]
        self.versions, self.with_grad = self._versions(), torch.is_grad_enabled()
        self.result: Tensor | None = None

    def _versions(self) -> list[int]:
        # Tensors of torch.inference_mode have no version.
        known = [one for one in (self.source, *self.tensors) if one is not None]
        return [one._version for one in known if not one.is_inference()]

    def value(self) -> Tensor:
        """Run the scan, once, and return its result; the states are then where they belong.

        Raises:
            RuntimeError: the input, a weight or a state was changed in place since the layer was called.
        """
        if self.result is None:
            if self.versions != self._versions():
                raise RuntimeError(
                    "a tensor that a layer took was changed in place within forward, before the layer's output was "
                    "used: change a copy of it"
                )
            with torch.set_grad_enabled(self.with_grad):  # as when the layers were called
                self.result = plan.run_now(self.source, self.parts)
        return self.result


class Deferred(Tensor):
    """A sequence ``[T, N, *]`` that a scan has still to compute, or a multiple of its mean over some steps ``[N, *]``.

    Args:
        run: the scan.
        shape: that of the result.
        skip: steps that are left out at the beginning.
        scale: factor on the mean; None where the sequence itself is meant.
    """

    @staticmethod
    def __new__(cls: type[Deferred], run: _Run, shape: tuple[int, ...], *_: Any) -> Deferred:
        return Tensor._make_wrapper_subclass(cls, shape, dtype=run.source.dtype, device=run.source.device)

    def __init__(self, run: _Run, shape: tuple[int, ...], skip: int = 0, scale: float | None = None) -> None:
        self.run, self.size_of, self.skip, self.scale = run, shape, skip, scale
        self.own: Tensor | None = None
        if _current is not None:
            _current.results.append(weakref.ref(self))

    def value(self) -> Tensor:
        """Return the result, the same tensor every time, which may be changed in place; the scan runs unless it has."""
        if self.own is None:
            result = self.run.value()
            with torch.set_grad_enabled(self.run.with_grad):
                result = result[self.skip :] if self.skip else result
                result = result if self.scale is None else result.mean(0)
                self.own = result if self.scale in (None, 1) else self.scale * result
        return self.own

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _METADATA:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **(kwargs or {}))
        read_out = None if kwargs else _read_out(func, args)
        if read_out is not None:
            return read_out
        args, kwargs = torch.utils._pytree.tree_map_only(Deferred, Deferred.value, (args, kwargs or {}))
        return func(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        args, kwargs = torch.utils._pytree.tree_map_only(Deferred, Deferred.value, (args, kwargs or {}))
        return func(*args, **kwargs)


def _read_out(func: Callable[..., Any], args: tuple[Any, ...]) -> Deferred | None:
    """Return the deferred result of leaving steps out, of the mean over time, or of scaling it; else None."""
    if len(args) != 2:
        return None
    own, other = args if isinstance(args[0], Deferred) else args[::-1]
    if (
        isinstance(other, Tensor)
        or own.run.result is not None
        or own.run.with_grad != torch.is_grad_enabled()
    ):
        return None
    shape = own.size_of
    if own.scale is None:
        if func in (Tensor.mean, torch.mean) and type(other) is int and other == 0:
            return Deferred(own.run, shape[1:], own.skip, 1.0)
        if func is Tensor.__getitem__ and isinstance(other, slice) and other.stop is other.step is None:
            skip = range(shape[0])[other].start
            return (
                Deferred(own.run, (shape[0] - skip, *shape[1:]), own.skip + skip) if skip < shape[0] else None
            )
    elif func in (Tensor.mul, torch.mul, Tensor.__rmul__) and type(other) in (int, float):
        return Deferred(own.run, shape, own.skip, own.scale * other)
    return None


def defers(x_seq: Tensor) -> bool:
    """Say whether layers are to wait, and this sequence is one that they can wait for."""
    return _current is not None and (
        type(x_seq) is Tensor or (type(x_seq) is Deferred and x_seq.scale is None and not x_seq.skip)
    )


def extend(x_seq: Tensor, parts: list[plan.Part], shape: tuple[int, ...]) -> Deferred:
    """Return the deferred result of more stages on a sequence, whose modules will ask its run for their states."""
    waiting = x_seq.run if isinstance(x_seq, Deferred) and x_seq.run.result is None else None
    if waiting is not None and waiting.with_grad == torch.is_grad_enabled():
        run = _Run(waiting.source, waiting.parts + parts)
    else:
        run = _Run(value_of(x_seq), parts)
    for part in run.parts:
        for owner, _ in part.owners:
            owner.defer_states(run)
            if _current is not None:
                _current.owners.append(owner)
    return Deferred(run, shape)


def call(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Return ``function(*inputs)``, deferred if known layers alone make it; :func:`value_of` gives its numbers."""
    global _current
    before, _current = _current, _Call()
    try:
        result = function(*inputs)
    finally:
        mine, _current = _current, before
    run = result.run if isinstance(result, Deferred) else None
    # What is kept for later must not wait for weights that will have changed by then.
    for made in mine.results:
        one = made()
        if one is not None and one is not result:
            one.run.value()
    for owner in mine.owners:
        owner.settle(unless=run)
    return result


def value_of(result: Tensor) -> Tensor:
    """Return the numbers of what :func:`call` returned."""
    return result.value() if isinstance(result, Deferred) else result


def reads(result: Tensor, images: Tensor) -> bool:
    """Say whether what :func:`call` returned is deferred, and its scan will read ``images`` where they are."""
    return isinstance(result, Deferred) and result.run.source.data_ptr() == images.data_ptr()


def _are_classes(labels: Tensor, samples: int, *classes: int) -> bool:
    fits = len(classes) == 1 and labels.dtype == torch.int64 and labels.shape == (samples,)
    if not (fits and samples and labels.device.type == "cpu"):
        return False
    numbers = labels.numpy()
    return bool(numbers.min() >= 0 and numbers.max() < classes[0]) and labels.is_contiguous()


def backward(result: Tensor, labels: Tensor, loss: str) -> tuple[Tensor, Tensor] | None:
    """Compute loss and all gradients in one kernel, add them to the weights' ``grad``, and return loss and outputs.

    The states are reset. Returns None, and does nothing, where autograd must do it, see :func:`train`.
    """
    if not (isinstance(result, Deferred) and _can_learn(result, labels)):
        return None
    from snn_core.kernels.cpu import steps

    found = steps.take(_task(result, labels, loss), None, None)
    _forget_states(result)
    made: list[Tensor] = []
    theirs: list[Tensor] = []
    for one, gradient in zip(result.run.tensors, found.gradients, strict=True):
        if one is None or gradient is None or not one.requires_grad:
            continue
        if one.is_leaf and one.is_contiguous():  # else autograd lays the gradient out as the weight is
            one.grad = gradient if one.grad is None else one.grad + gradient
        else:
            made.append(one)
            theirs.append(gradient)
    if made:  # at once, since they may come from the same weight
        torch.autograd.backward(made, theirs)
    return found.losses[0].to(result.dtype), found.outputs


def train(
    result: Tensor,
    labels: Tensor,
    loss: str,
    optimizer: torch.optim.Optimizer,
    clip: float | None = None,
    index: Tensor | None = None,
) -> Any:
    """Take steps of an optimizer in one call, reset the states, and return :class:`snn_core.kernels.cpu.steps.Found`.

    Each weight's ``grad`` is that of the last step. Returns None, and does nothing, where torch must do it: for outputs
    that are not a deferred mean over time, weights with hooks, an input that needs a gradient, an optimizer that the
    kernels do not know.

    Args:
        result: outputs ``[n, classes]`` of :func:`call`.
        labels: int64 ``[n]``.
        loss: ``"mse"`` or ``"cross-entropy"``.
        optimizer: see :func:`snn_core.kernels.cpu.steps.descent_of`.
        clip: likewise.
        index: the samples of each step, int64 ``[steps, N]``, contiguous; None is one step with all of them.

    Raises:
        IndexError: ``index`` is not within the samples.
    """
    if not (isinstance(result, Deferred) and _can_learn(result, labels)):
        return None
    if index is not None and index.shape[1] > len(labels):
        return None
    from snn_core.kernels.cpu import steps

    by = steps.descent_of(optimizer, result.run.tensors, clip)
    if by is None:
        return None
    found = steps.take(_task(result, labels, loss), index, by)
    _forget_states(result)
    for gradient, change in zip(found.gradients, by.changed, strict=True):
        if change is not None and gradient is not None:
            change.weight.grad = gradient.view(change.weight.shape)
    return found


def evaluate(result: Tensor, labels: Tensor, loss: str) -> tuple[float, Tensor] | None:
    """Return the mean loss and the outputs, without a gradient, and reset the states; None as in :func:`train`."""
    if not (isinstance(result, Deferred) and _can_read_out(result, labels)):
        return None
    from snn_core.kernels.cpu import steps

    found = steps.read_out(_task(result, labels, loss))
    _forget_states(result)
    return found


def _can_read_out(result: Deferred, labels: Tensor) -> bool:
    """Say whether a kernel can give the loss of this result."""
    parts, x_seq = result.run.parts, result.run.source
    return (
        result.scale is not None
        and result.run.result is None
        # The states are fresh.
        and not any(one is not None for part in parts for one in part.tensors[: len(part.owners)])
        and any(part.stage.is_dense for part in parts)  # else each neuron is a sample
        and x_seq.device.type == "cpu"
        and x_seq.dtype in (torch.float32, torch.float64)
        and _are_classes(labels, *result.size_of)
    )


def _can_learn(result: Deferred, labels: Tensor) -> bool:
    """Say whether a kernel can give the gradients of the loss of this result."""
    if not _can_read_out(result, labels):
        return False
    needed = [one for one in result.run.tensors if one is not None and one.requires_grad]
    return (
        len(needed) > 0
        and not any(plan.is_heard(one) for one in needed)
        and not result.run.source.requires_grad
        and result.run.with_grad
    )


def _task(result: Deferred, labels: Tensor, loss: str) -> Any:
    """Return the loss of a result, which :func:`_can_read_out` has let through, as kernels take it."""
    from snn_core.kernels.cpu import steps

    x_seq, flat = plan.prepared(result.run.source, result.run.parts)
    own = plan.plan_of(*flat)
    return steps.Task(x_seq, result.run.tensors, own, labels, loss, result.skip, cast(float, result.scale))


def _forget_states(result: Deferred) -> None:
    for part in result.run.parts:
        for owner, _ in part.owners:
            owner.reset()
