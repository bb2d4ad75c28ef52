"""Steps of training on the CPU: a network's plan, a loss and an optimizer in, changed weights out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from snn_core.kernels.cpu import descent
from snn_core.kernels.cpu import launch as cpu
from snn_core.kernels.cpu import scan as kernels
from snn_core.kernels.plan import Plan, is_heard

#: Losses that a kernel knows, each a mean over samples: squared error to the one-hot label, and cross-entropy.
LOSSES = {"mse": kernels.MSE, "cross-entropy": kernels.CROSS_ENTROPY}

#: Nodes of autograd that change neither the numbers of a tensor nor their order.
_VIEWS = ("ViewBackward0", "ReshapeAliasBackward0", "UnsafeViewBackward0", "ExpandBackward0")
#: Settings of an optimizer that kernels do not know.
_SWITCHES = ("nesterov", "dampening", "maximize", "amsgrad", "decoupled_weight_decay", "differentiable")


class Change(NamedTuple):
    """A weight, what the optimizer keeps of it, at most two tensors, and whether the plan takes its sigmoid."""

    weight: Tensor
    kept: list[Tensor]
    is_sigmoid: bool


class Descent(NamedTuple):
    """What an optimizer does, as the kernels take it.

    Args:
        kind: :data:`descent.SGD` or :data:`descent.ADAM`.
        settings: :data:`descent.NUMBERS` numbers.
        changed: for each tensor of the plan the weight behind it, or None.
        counters: Adam's counts of steps, one for each weight.
    """

    kind: int
    settings: np.ndarray
    changed: list[Change | None]
    counters: list[Tensor]


def _weight_of(tensor: Tensor) -> tuple[Tensor, bool] | None:
    """Return the leaf whose numbers, or their sigmoid, ``tensor`` holds; None if it is computed in another way."""
    node: Any = tensor.grad_fn
    if node is None:
        return tensor, False
    is_sigmoid = False
    while not hasattr(node, "variable"):
        if node is None or node.name() not in (*_VIEWS, "SigmoidBackward0")[: 4 if is_sigmoid else 5]:
            return None
        is_sigmoid = is_sigmoid or node.name() == "SigmoidBackward0"
        node = node.next_functions[0][0]
    return (node.variable, is_sigmoid) if node.variable.numel() == tensor.numel() else None


def _kept(optimizer: torch.optim.Optimizer, weight: Tensor) -> dict[str, Tensor]:
    """Return what SGD or Adam keeps of a weight, made as torch does it if this is the first step."""
    if type(optimizer) is torch.optim.SGD and not optimizer.param_groups[0]["momentum"]:
        return {}
    state = optimizer.state[weight]
    if type(optimizer) is torch.optim.Adam and not state:
        state |= {"step": torch.zeros(()), "exp_avg": torch.zeros_like(weight)}
        state["exp_avg_sq"] = torch.zeros_like(weight)
    elif type(optimizer) is torch.optim.SGD and state.get("momentum_buffer") is None:
        state["momentum_buffer"] = torch.zeros_like(weight)
    return state


def descent_of(
    optimizer: torch.optim.Optimizer, tensors: Sequence[Tensor | None], clip: float | None
) -> Descent | None:
    """Return what ``optimizer`` does to the weights behind ``tensors``, or None if kernels do not know it.

    Args:
        optimizer: SGD or Adam of ``torch.optim`` with one group of weights; neither it nor they have hooks.
        tensors: those of a plan.
        clip: largest norm of all gradients together, see ``torch.nn.utils.clip_grad_norm_``; None leaves them.
    """
    own, is_adam = optimizer.param_groups[0], type(optimizer) is torch.optim.Adam
    if (
        type(optimizer) not in (torch.optim.SGD, torch.optim.Adam)
        or len(optimizer.param_groups) > 1
        or any(own.get(name) for name in _SWITCHES)
        or optimizer._optimizer_step_pre_hooks
        or optimizer._optimizer_step_post_hooks
    ):
        return None
    changed: list[Change | None] = []
    counters, known = [], {id(weight) for weight in own["params"]}
    for tensor in tensors:
        if tensor is None or not tensor.requires_grad:
            changed.append(None)
            continue
        weight, is_sigmoid = _weight_of(tensor) or (tensor, False)
        if id(weight) not in known or is_heard(weight):
            return None
        known.remove(id(weight))  # one that is used twice has a sum of gradients
        state = _kept(optimizer, weight)
        counters += [state["step"]] if is_adam else []
        kept = [one for name, one in state.items() if name != "step"]
        if not all(one.is_contiguous() and one.dtype == weight.dtype for one in (tensor, weight, *kept)):
            return None
        changed.append(Change(weight, kept, is_sigmoid))
    taken = {int(counter) for counter in counters} or {0}
    if len(taken) > 1:
        return None
    keep = own["betas"] if is_adam else (own["momentum"], 0.0)
    most_norm = np.inf if clip is None else clip
    settings = np.array(
        [own["lr"], own["weight_decay"], *keep, own.get("eps", 0), *taken, most_norm, 1.0], float
    )
    return Descent(descent.ADAM if is_adam else descent.SGD, settings, changed, counters)


class Found(NamedTuple):
    """What steps gave.

    For each step the mean loss, the number of samples that were right, and NaN if a weight is not finite after it,
    ``[steps]``; of the last step the outputs ``[N, J]`` and the gradients of the plan's tensors, or of the weights
    behind them.
    """

    losses: Tensor
    right: Tensor
    bad: Tensor
    outputs: Tensor
    gradients: list[Tensor | None]


class Task(NamedTuple):
    """The loss of a network's outputs, which are ``scale`` times the mean of y_seq from time step ``skip`` on.

    Args:
        x_seq: input ``[T, n, K]``.
        tensors: of the plan; those that begin a state are None.
        plan: the network.
        labels: int64 ``[n]``, contiguous.
        loss: one of :data:`LOSSES`.
        skip: see above.
        scale: see above.
    """

    x_seq: Tensor
    tensors: Sequence[Tensor | None]
    plan: Plan
    labels: Tensor
    loss: str
    skip: int
    scale: float

    def arguments(self, call: cpu.Call) -> dict[str, Any]:
        """Return what the kernels of a call take besides."""
        return {
            "BORDERS": call.empty(call.layout.borders * call.N * self.plan.state_size),
            "OUT": call.empty(call.N, self.plan.stages[-1].outputs),
            "SCALE": torch.tensor([self.scale], dtype=call.dtype, device="cpu"),
            "LOSS": LOSSES[self.loss],
            "SKIP": self.skip,
            "LABELS": self.labels,
        }


@cache
def _kernels(dtype: Any) -> tuple[int, list[int]]:
    """Return the addresses of the kernel that takes steps, and of those that it calls."""
    with cpu.patiently():
        called = [kernels.address(name, dtype) for name in ("transpose_weights", "scan_backward")]
        called += [descent.address(name, dtype) for name in ("sum_gradients", "descend")]
        return descent.address("take_steps", dtype), called


@torch.no_grad()
def take(task: Task, index: Tensor | None = None, by: Descent | None = None) -> Found:
    """Take steps of training.

    Args:
        task: the network, what it is shown, and the loss.
        index: which samples each step takes, int64 ``[steps, N]``; None is one step with all of them.
        by: what changes the weights; None changes none.

    Raises:
        IndexError: ``index`` is not within the samples.
    """
    x_seq, tensors, plan, labels, *_ = task
    steps, N = (1, x_seq.shape[1]) if index is None else index.shape
    if index is not None and not (index.min() >= 0 and index.max() < len(labels)):
        raise IndexError(f"index must be from 0 to {len(labels) - 1}, got {index.min()} to {index.max()}")
    call = cpu.Call(x_seq[:, :N], tensors, plan)
    sums, record = call.sums(), np.zeros((steps, descent.RECORDS))
    places = [(start, end) for _, start, end in call.pieces()]
    table = _pieces(places, call.tensors, by, call.layout.gradient)
    parts, settings = np.zeros(len(table)), np.zeros(descent.NUMBERS) if by is None else by.settings
    number: Any = call.layout.numbers.dtype.type
    leader, called = _kernels(number)
    lead = np.array(
        [
            0, 0, 0, call.arguments.ctypes.data, steps, len(table), table.ctypes.data, parts.ctypes.data,
            settings.ctypes.data, record.ctypes.data, by.kind if by else descent.NO_STEP, *called,
        ],
        np.int64,
    )  # fmt: skip
    given = task.arguments(call)
    call.run_backward(sums, (leader, lead), INDEX=index, **given)
    if by is not None:
        changed = [change for change in by.changed if change is not None]
        torch.autograd.graph.increment_version([one for each in changed for one in (each.weight, *each.kept)])
        for counter in by.counters:
            counter += steps
    total = sums[0].clone()  # without the items
    gradients = [
        None if tensor is None else total[start:end].view(tensor.shape)
        for tensor, (start, end) in zip(tensors, places, strict=True)
    ]
    losses, right, bad = torch.from_numpy(record).unbind(1)
    return Found(losses, right, bad, given["OUT"], gradients)


def read_out(task: Task) -> tuple[float, Tensor]:
    """Return the mean loss and the outputs ``[n, J]``, without a gradient."""
    call = cpu.Call(task.x_seq, task.tensors, task.plan)
    given, sums = task.arguments(call), call.empty(call.layout.items, 2)
    call.run("scan_read_out", SUMS=sums, SUM_SIZE=2, **given)
    return sums[:, 0].double().sum().item() / max(call.N, 1), given["OUT"]


def _pieces(
    places: Sequence[tuple[int, int]], tensors: Sequence[Tensor | None], by: Descent | None, size: int
) -> np.ndarray:
    """Return the table of pieces: of the weights that change, or of all gradients; then one for the loss."""
    table = []
    for k, ((start, end), tensor) in enumerate(zip(places, tensors, strict=True)):
        change = None if by is None else by.changed[k]
        if tensor is None or (by is not None and change is None):
            continue
        own: list[Tensor | None] = [None] * 4
        if change is not None:
            own[: 1 + len(change.kept)] = change.weight, *change.kept
            own[3] = tensor if change.is_sigmoid else None
        for at in range(start, end, descent.PIECE):
            skipped = (at - start) * tensor.element_size()
            addresses = [0 if one is None else one.data_ptr() + skipped for one in own]
            table.append((at, min(descent.PIECE, end - at), *addresses))
    return np.array([*table, (size, 2, 0, 0, 0, 0)], np.int64)
