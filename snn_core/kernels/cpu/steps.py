"""Steps of training on the CPU: a plan, a loss and an optimizer in, changed weights out, without Python in between."""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from snn_core.kernels import fields
from snn_core.kernels.cpu import launch as cpu
from snn_core.kernels.cpu import load, threads
from snn_core.kernels.plan import Plan, Stage, plan_for

#: Losses that a kernel knows, each a mean over samples: squared error to the one-hot label, and cross-entropy. These
#: and optimizers are numbered as in the engine.
LOSSES = {"mse": 1, "cross-entropy": 2}
SGD, ADAM = 1, 2
#: Numbers of a piece of a weight at most.
PIECE = 4096
#: The largest number of float16, and the good steps after which the scale doubles, as in the engine.
MOST_OF_HALF, INTERVAL = 65504.0, 2000
#: Columns of the structures that kernels take.
SETTINGS, TRAINING = fields.columns(fields.SETTINGS), fields.columns(fields.TRAINING)

#: Steps of the first kernel call, and the seconds that the others should take, since an interrupt waits for one.
FIRST_STEPS, PATIENCE = 8, 0.2
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
        kind: :data:`SGD` or :data:`ADAM`.
        settings: the numbers of the structure ``Settings``.
        changed: for each tensor of the plan the weight behind it, or None.
        counters: Adam's counts of steps, one for each weight.
    """

    kind: int
    settings: np.ndarray
    changed: list[Change | None]
    counters: list[Tensor]


class Steps(NamedTuple):
    """What steps gave, a number for each, float64.

    The mean loss; how many samples were right; 0, or NaN where a weight is not finite after the step; and 1 where the
    update was skipped, else 0.
    """

    losses: Tensor
    right: Tensor
    bad: Tensor
    skipped: Tensor


class SkipOverflow:
    """The rule by which ``torch.amp.GradScaler`` skips updates, in float32; it has the methods that a loop calls.

    An update is skipped where an element of the gradient times the scale, before any clipping, is above 65,504, the
    largest number of float16, or not finite. The scale, 65,536 at first, is then halved; after 2,000 updates in a row
    without a skip it is doubled.
    """

    def __init__(self) -> None:
        self._scale, self._good = 65_536.0, 0
        self._overflows: bool | None = None  # None until the gradients were looked at

    def scale(self, loss: Tensor) -> Tensor:
        """Return ``loss`` as it is: in float32 a gradient needs no factor."""
        return loss

    def unscale_(self, optimizer: torch.optim.Optimizer) -> None:
        """Look at the gradients of ``optimizer``, before they are clipped."""
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        largest = torch.nn.utils.get_total_norm([w.grad for w in weights if w.grad is not None], torch.inf)
        self._overflows = not (largest.item() * self._scale <= MOST_OF_HALF)  # so that NaN overflows, too

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Let ``optimizer`` take its step unless the gradient overflows."""
        if self._overflows is None:
            self.unscale_(optimizer)
        if not self._overflows:
            optimizer.step()

    def update(self) -> None:
        """Halve or double the scale."""
        self._good = 0 if self._overflows else self._good + 1
        if self._overflows or self._good == INTERVAL:
            self._scale, self._good = self._scale * (0.5 if self._overflows else 2), 0
        self._overflows = None

    def get_scale(self) -> float:
        """Return the scale of the next update."""
        return self._scale

    def is_enabled(self) -> bool:
        """Return True: it has a rule."""
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return what :meth:`load_state_dict` needs."""
        return {"scale": self._scale, "good": self._good}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a :meth:`state_dict`."""
        self._scale, self._good = state["scale"], state["good"]


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
    state = dict(optimizer.state.get(weight, {}))
    if type(optimizer) is torch.optim.Adam and not state:
        state |= {"step": torch.zeros(()), "exp_avg": torch.zeros_like(weight)}
        state["exp_avg_sq"] = torch.zeros_like(weight)
    elif type(optimizer) is torch.optim.SGD and state.get("momentum_buffer") is None:
        state["momentum_buffer"] = torch.zeros_like(weight)
    return state


def descent_of(
    optimizer: torch.optim.Optimizer,
    tensors: Sequence[Tensor | None],
    dtype: torch.dtype,
    clip: float | None,
    skip_overflow: SkipOverflow | None,
) -> Descent | str:
    """Return what ``optimizer`` does to the weights behind ``tensors``, or why kernels do not know it.

    All must have the ``dtype`` in which kernels compute. ``clip`` is the largest norm of all gradients together, see
    ``torch.nn.utils.clip_grad_norm_``; None leaves them. What the optimizer keeps of a weight is made only if kernels
    take it.
    """
    group, is_adam = optimizer.param_groups[0], type(optimizer) is torch.optim.Adam
    name = type(optimizer).__name__
    if type(optimizer) not in (torch.optim.SGD, torch.optim.Adam):
        return f"optimizer must be torch's SGD or Adam, got {name}"
    if len(optimizer.param_groups) > 1:
        return f"optimizer must have one group of weights, got {len(optimizer.param_groups)}"
    switches = [switch for switch in _SWITCHES if group.get(switch)]
    if switches:
        return f"optimizer must be without {switches[0]}"
    of_all = _global_optimizer_pre_hooks, _global_optimizer_post_hooks
    if any((optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks, *of_all)):
        return "optimizer has hooks"
    changed: list[Change | None] = []
    counters, known = [], {id(weight) for weight in group["params"]}
    states: dict[Tensor, dict[str, Tensor]] = {}
    for tensor in tensors:
        if tensor is None or not tensor.requires_grad:
            changed.append(None)
            continue
        weight, is_sigmoid = _weight_of(tensor) or (tensor, False)
        if id(weight) not in known:
            return "the network has weights that the optimizer lacks, are used twice, or are computed from others"
        if weight._backward_hooks or getattr(weight, "_post_accumulate_grad_hooks", None):
            return "a weight has hooks"
        known.remove(id(weight))
        state = states[weight] = _kept(optimizer, weight)
        counters += [state["step"]] if is_adam else []
        kept = [one for key, one in state.items() if key != "step"]
        if not all(one.is_contiguous() and one.dtype == dtype for one in (tensor, weight, *kept)):
            return f"a weight, or what the optimizer keeps of it, is not contiguous or not of {dtype}"
        changed.append(Change(weight, kept, is_sigmoid))
    taken = {int(counter) for counter in counters} or {0}
    if len(taken) > 1:
        return "the optimizer has taken more steps with some weights than with others"
    if not any(changed):
        return "no weight is trained"
    for weight, state in states.items():
        if state:
            optimizer.state[weight] = state
    keep = group["betas"] if is_adam else (group["momentum"], 0.0)
    rule = tuple(skip_overflow.state_dict().values()) if skip_overflow else (0.0, 0)
    most_norm = np.inf if clip is None else clip
    settings = np.array(
        [
            float(group["lr"]),
            group["weight_decay"],
            *keep,
            group.get("eps", 0),
            *taken,
            most_norm,
            1.0,
            *rule,
        ],
        float,
    )
    return Descent(ADAM if is_adam else SGD, settings, changed, counters)


@torch.no_grad()
def take_steps(
    x_seq: Tensor,
    stages: Sequence[Stage],
    labels: Tensor,
    loss: str,
    by: Descent,
    index: Tensor,
    skip_overflow: SkipOverflow | None,
) -> Steps:
    """Take steps of training on the mean of the outputs over time; states begin at their first values.

    Args:
        x_seq: ``[T, n, K]``.
        stages: of steps ``[N, K]``.
        labels: int64 ``[n]``, contiguous, from 0 to J - 1.
        loss: one of :data:`LOSSES`.
        by: what changes the weights.
        index: which samples each step takes, int64 ``[steps, N]``, contiguous, from 0 to n - 1.
        skip_overflow: the rule by which updates are skipped, or None.
    """
    plan, (steps, N) = plan_for(stages, x_seq), index.shape
    layout = cpu.layout_of(plan)
    call = cpu.Call(plan, x_seq[:, :1].expand(-1, N, -1), plan.arranged(stages), plan.numbers(stages))
    call.x = cpu.strided(plan.compute, x_seq)  # of whose samples the index chooses
    sums, record = call.sums(), np.zeros((steps, len(fields.RECORD)))
    table = _pieces(plan, layout, call.tensors, by)
    notes, weights = np.zeros((len(table), len(fields.NOTE))), call.empty(layout.weights)
    out, borders = call.empty(N, plan.kinds[-1].outputs), call.empty(layout.borders)
    scan = call.structure(
        weights, SUMS=sums, LOSS=LOSSES[loss], LABELS=labels, OUT=out, INDEX=index, BORDERS=borders
    )
    training = array("q", [0] * TRAINING["COLUMNS"])
    known = {
        "CALL": scan.buffer_info()[0], "PIECES": len(table), "PIECE": PIECE, "OPTIMIZER": by.kind,
        "TABLE": table.ctypes.data, "NOTES": notes.ctypes.data, "SETTINGS": by.settings.ctypes.data,
    }  # fmt: skip
    for name, value in known.items():
        training[TRAINING[name]] = value
    kernel = load.engine(layout.number)["take_steps"]
    try:
        done, count = 0, FIRST_STEPS
        while done < steps:
            count, began = min(count, steps - done), time.perf_counter()
            training[TRAINING["STEPS"]], training[TRAINING["RECORD"]] = count, record[done:].ctypes.data
            done += count  # an interrupt is obeyed when the kernel returns
            threads.run(kernel, scan, layout.items, layout.bytes_of_thread, training)
            count = max(1, int(count * PATIENCE / max(time.perf_counter() - began, 1e-6)))
    finally:
        changed = [change for change in by.changed if change is not None]
        torch.autograd.graph.increment_version([one for each in changed for one in (each.weight, *each.kept)])
        taken = int(by.settings[SETTINGS["TAKEN"]])
        for counter in by.counters:
            counter.fill_(taken)
        if skip_overflow:
            scale, good = by.settings[[SETTINGS["SCALE"], SETTINGS["GOOD"]]].tolist()
            skip_overflow.load_state_dict({"scale": scale, "good": int(good)})
    return Steps(*torch.from_numpy(record).unbind(1))


def _pieces(plan: Plan, layout: cpu.Layout, tensors: Sequence[Tensor | None], by: Descent) -> np.ndarray:
    """Return the table of pieces of the weights that change; then one for the loss."""
    table = []
    others = [k for k, (_, name, _) in enumerate(plan.tensors) if name != "FIRST"]
    for k, size, end in zip(others, layout.sizes, accumulate(layout.sizes), strict=True):
        tensor, change = tensors[k], by.changed[k]
        if tensor is None or change is None:
            continue
        of_piece: list[Tensor | None] = [None] * 4
        of_piece[: 1 + len(change.kept)] = change.weight, *change.kept
        of_piece[3] = tensor if change.is_sigmoid else None
        for at in range(0, size, PIECE):
            skipped = at * tensor.element_size()
            addresses = [0 if one is None else one.data_ptr() + skipped for one in of_piece]
            table.append((end - size + at, min(PIECE, size - at), *addresses))
    return np.array([*table, (layout.gradient, 2, 0, 0, 0, 0)], np.int64)
