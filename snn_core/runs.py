"""How neighbouring modules run in one fused scan, and what is kept of them between two calls.

What was read off modules is kept with them, as a :class:`Run`, and read again only after something has changed:
:class:`Watch` compares everything that reading saw with what is there now, object by object.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, compress, count
from operator import attrgetter, is_, is_not
from types import FunctionType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from snn_core import kernels
from snn_core.cells import fields
from snn_core.checks import HOOKS, Like, is_autocast, is_watched
from snn_core.fuse import (
    Part,
    after,
    flattened,
    merged,
    place_of_history,
    read,
    records_of,
    rows_of,
    shares_state,
    with_numbers,
)


class Watch:
    """Knows whether anything that reading modules depends on has changed: attributes, parameters, hooks, equations.

    Objects are compared by identity, so that a number that was set to another one is seen, and -0.0 for 0.0, too. What
    a module keeps from step to step is left out.
    """

    def __init__(self, known: Sequence[nn.Module], parts: Sequence[Part]) -> None:
        cells = [owner for part in parts for make, _ in part.sources for owner, _, _ in fields(make())]
        classes: dict[type, None] = {}
        for one in (*known, *cells):
            classes |= dict.fromkeys(kind for kind in type(one).__mro__ if not _is_torchs(kind))
        #: What is looked at: values by their owner, and which of them; the others change from step to step.
        self.views: list[Any] = []
        self.mask: list[bool] = []
        owners: list[Any] = []

        def look_at(values: Any, owner: Any, is_seen: list[bool] | None = None) -> None:
            self.views.append(values)
            self.mask += is_seen or [True] * len(values)
            owners.extend([owner] * len(values))

        for module in known:
            own, left_out = vars(module), {"_runs", *getattr(module, "state_names", ())}
            look_at(own.values(), module, [name not in left_out for name in own])
            for inner in [own[name] for name in _INSIDE]:
                look_at(inner.values(), module)
        for kind in classes:
            look_at(vars(kind).values(), None, [not name.startswith("_abc_") for name in vars(kind)])
        look_at((_END,), None)  # is seen at another place if anything was added or taken away
        self.known, self.types = known, list(map(type, known))
        self.seen = list(compress(chain.from_iterable(self.views), self.mask))
        self.owners = list(compress(owners, self.mask))
        #: Whether all classes and functions are the library's own; others may read what is not looked at here.
        self.is_own = all(f"{kind.__module__}.".startswith("snn_core.") for kind in classes) and not any(
            isinstance(value, FunctionType) for module in known for value in vars(module).values()
        )

    def holds(self) -> bool:
        """Say whether everything is as it was."""
        return self.types == list(map(type, self.known)) and all(
            map(is_, compress(chain.from_iterable(self.views), self.mask), self.seen)
        )

    def changed_numbers(self) -> set[Any] | None:
        """Return the modules with numbers that have changed, which count as seen then; None if anything else has."""
        now = list(compress(chain.from_iterable(self.views), self.mask))
        if len(now) != len(self.seen) or self.types != list(map(type, self.known)):
            return None
        found = set()
        for k in compress(count(), map(is_not, now, self.seen)):
            if not (type(now[k]) is type(self.seen[k]) is float) or self.owners[k] is None:
                return None
            found.add(self.owners[k])
        self.seen = now
        return found


_END = object()
_dtype = attrgetter("dtype")
#: Attributes of a module whose contents are looked at, too.
_INSIDE = "_parameters", "_buffers", "_modules", *HOOKS


def _is_torchs(kind: type) -> bool:
    return f"{kind.__module__}.".startswith(("torch.", "builtins.", "abc."))


class _Place(NamedTuple):
    """Where a state is kept, its first value, and what it must be like; ``history`` is the dimension of its steps."""

    owner: Any
    name: str
    first: float | Tensor
    like: Like
    history: int | None = None

    def in_memory(self) -> tuple[int, ...]:
        shape = tuple(self.like.shape)
        if self.history is None:
            return shape
        return shape[self.history], *shape[: self.history], *shape[self.history + 1 :]


class Run:
    """Neighbouring modules that one scan takes, for steps of one shape, dtype and device.

    Args:
        parts: what stands for each of the modules.
        likes: what a time step is like before each.
        rest: the modules behind.
    """

    def __init__(self, parts: Sequence[Part], likes: Sequence[Like], rest: Sequence[nn.Module]) -> None:
        self.parts, self.likes, self.rest = parts, likes, rest
        groups = merged(parts)
        #: Of each stage how many states it has, and which of the parts are in it.
        self.layout = []
        #: The lists that get what is stored of all steps, in the order in which a scan returns it.
        self.recorders: list[tuple[list[Tensor], ...]] = []
        self._seqs: list[tuple[int, ...]] = []
        stages = [part.stage for part, _ in groups]
        self.is_dense = any(stage.is_dense for stage in stages)
        if not self.is_dense:
            stages = [stage._replace(inputs=1, outputs=1) for stage in stages]
        self.stages, at = tuple(stages), 0
        for stage, (one, parts_in_it) in zip(stages, groups, strict=True):
            self.layout.append((stage.states + (stage.feedback > 0), at, at + parts_in_it))
            step = tuple(likes[at].shape)  # cells keep it, and linear layers store nothing
            at += parts_in_it
            for k in stage.seqs:
                owner = one.states[k][:2] if k < stage.states else None
                self.recorders.append(one.outputs if owner is None else records_of(*owner))
                self._seqs.append(step)
        self.numbers = self._numbers()
        self.states = [
            place for part, like in zip(parts, likes, strict=True) for place in self._places(part, like)
        ]
        self.like_after = after(parts[-1], likes[-1])
        self.step_after = tuple(self.like_after.shape)
        self.has_history = any(part.has_history for part in parts)
        self._shapes: tuple[int, kernels.Shapes] = 0, kernels.Shapes((), (), [], [])
        #: Parts of which some tensors are computed from others, and so anew for each scan; set by :meth:`keep`.
        self.computed: list[int] = []
        self.watch: Any = None
        self.stop: Any = None

    def _numbers(self) -> tuple[float, ...]:
        """Return the numbers of all stages, as a scan takes them."""
        return tuple([number for part, _ in merged(self.parts) for number in part.numbers])

    def _places(self, part: Part, like: Like) -> Iterator[_Place]:
        """Yield where each state is kept and what it must be like."""
        step = tuple(like.shape)
        for k, (owner, name, first) in enumerate(part.states):
            if part.has_history and k == part.stage.states:
                at = place_of_history(step)
                deep = *step[:at], part.stage.feedback, *step[at:]
                yield _Place(owner, name, first, like._replace(shape=deep), at)
            else:
                yield _Place(owner, name, first, like._replace(shape=step))

    def keep(self, chains: Sequence[nn.Module], stop: Any) -> None:
        """Get ready to be used again: note what may change, and let go of what was computed.

        ``chains`` are the containers that were opened; ``stop`` is a module behind that takes the loop, or None.
        """
        self.stop = stop
        modules = [part.module for part in self.parts]
        self.inside = [list(module.modules()) for module in modules]
        behind = [] if stop is None else stop.modules()
        known = dict.fromkeys([*chains, *chain.from_iterable(self.inside), *behind])
        self.watch = Watch(list(known), self.parts)
        own = {id(tensor) for module in modules for tensor in (*module.parameters(), *module.buffers())}
        for k, part in enumerate(self.parts):
            tensors = [one for one in (*part.weights, *part.parameters) if one is not None]
            if not (self.watch.is_own and all(id(one) in own for one in tensors)):
                self.computed.append(k)
        self.parts = [
            _without_graph(part) if k in self.computed else part for k, part in enumerate(self.parts)
        ]
        given = [one for part in self.parts for one in (*part.weights, *part.parameters)]
        self.given = [one for one in given if one is not None]
        self.dtypes = list(map(_dtype, self.given))

    def parts_now(self, backend: str, is_direct: bool) -> Sequence[Part] | None:
        """Return the parts with what they compute at this moment; None if anything else has changed."""
        # A parameter stays the same object when its data are replaced, as module.double() does.
        if list(map(_dtype, self.given)) != self.dtypes:
            return None
        if not (self.watch.holds() or self._take_numbers()):
            return None
        if not self.computed:
            return self.parts
        if self.stop is not None and not isinstance(
            read(self.stop, self.like_after, backend, is_direct), str
        ):
            return None
        found = list(self.parts)
        for k in self.computed:
            module, like = found[k].module, self.likes[k]
            if self.watch.is_own and hasattr(module, "cell"):
                # Nothing but tensors can differ: the library's cells follow from what is watched.
                found[k] = found[k]._replace(parameters=rows_of(module.cell(like), like))
                continue
            part = read(module, like, backend, is_direct)
            if isinstance(part, str) or not _is_same(part, found[k]):
                return None
            found[k] = part
        return found

    def _take_numbers(self) -> bool:
        """Take the numbers of modules that have changed; say whether nothing else has."""
        changed = self.watch.changed_numbers()
        if changed is None:
            return False
        parts = list(self.parts)
        for k, part in enumerate(parts):
            if changed.isdisjoint(self.inside[k]):
                continue
            fresh = with_numbers(part)
            if fresh is None:
                return False
            parts[k] = fresh
        self.parts = parts
        self.numbers = self._numbers()
        return True

    def shapes(self, T: int) -> kernels.Shapes:
        """Return how T steps lie in memory."""
        if self._shapes[0] != T:
            step, features = self.likes[0].shape, self.stages[0].inputs
            samples = math.prod(step) // features if features else math.prod(step[:-1])
            states = [place.in_memory() for place in self.states]
            seqs = [(T, *step) for step in self._seqs]
            self._shapes = T, kernels.Shapes((T, samples, features), (T, *self.step_after), states, seqs)
        return self._shapes[1]

    def __call__(self, x_seq: Tensor, parts: Sequence[Part], lengths: Tensor | None = None) -> Tensor:
        """Take a sequence through the modules, and keep the last states where they belong.

        ``lengths``, in descending order, say how many steps each sample has.
        """
        if self.has_history:
            for part in parts:
                if part.has_history:
                    part.module.check_steps(len(x_seq))
        shapes = self.shapes(len(x_seq))
        if lengths is not None and len(lengths) != shapes.rows[1]:
            lengths = lengths.repeat_interleave(shapes.rows[1] // max(len(lengths), 1))
        y_seq, *states = kernels.scan(x_seq, self.stages, self.numbers, self.tensors(parts), shapes, lengths)
        # What is stored of all steps comes last.
        for (owner, name, _, _, history), state in zip(self.states, states, strict=False):
            vars(owner)[name] = state if history is None else state.movedim(0, history)
        for recorders, seq in zip(self.recorders, states[len(self.states) :], strict=True):
            for to in recorders:
                to.append(seq)
        return y_seq

    def tensors(self, parts: Sequence[Part]) -> list[Tensor | None]:
        """Return the tensors of all stages, in their order."""
        found: list[Tensor | None] = []
        at = 0
        for states, first, end in self.layout:
            for owner, name, first_value, like, history in self.states[at : at + states]:
                state = vars(owner).get(name)
                if isinstance(first_value, Tensor):
                    state = owner.checked_state(name, like, first_value)
                elif state is not None or name in owner._parameters:
                    state = owner.kept_state(name, like)
                if state is not None and history is not None:
                    state = state.movedim(history, 0)
                found.append(state)
            at += states
            found += parts[first].weights
            for part in parts[first:end]:
                found += part.parameters
        return found


def _without_graph(part: Part) -> Part:
    weights = tuple(None if one is None else one.detach() for one in part.weights)
    return part._replace(weights=weights, parameters=tuple(one.detach() for one in part.parameters))


def _is_same(part: Part, other: Part) -> bool:
    """Say whether two parts differ in tensors alone."""
    if part.stage != other.stage or len(part.weights) != len(other.weights):
        return False
    if any(a[0] is not b[0] or a[1] != b[1] for a, b in zip(part.states, other.states, strict=True)):
        return False
    pairs = [(a[2], b[2]) for a, b in zip(part.states, other.states, strict=True)]
    pairs += zip(part.constants, other.constants, strict=True)
    return all(a is b or _hex(a) == _hex(b) for a, b in pairs)


def _hex(number: float | Tensor) -> Any:
    return None if isinstance(number, Tensor) else float(number).hex()


#: Takes a module that is not fused and its input, and gives its output.
Call = Callable[[Any, Tensor], Tensor]
#: Runs that one module keeps.
MOST_RUNS = 16


def _reads_now(x_seq: Tensor) -> bool:
    """Say whether modules are read anew for this call: somebody watches it, or a mode changes what they do."""
    return (
        type(x_seq) not in (Tensor, nn.Parameter)
        or is_watched()
        or is_autocast(x_seq.device)
        or _has_any_global_hook()
    )


def _home(modules: Sequence[Any]) -> dict[Any, Run] | None:
    """Return where runs of these modules are kept: with the first of them that keeps any."""
    for module in modules:
        runs = vars(module).get("_runs")
        if runs is None and isinstance(module, nn.Sequential):
            runs = _home(list(module._modules.values()))
        if runs is not None:
            return runs
    return None


class _Kept(NamedTuple):
    """Where a run of some modules is kept, under which key, and what was found there: the run and its parts now."""

    runs: dict[Any, Run] | None = None
    key: Any = None
    found: tuple[Run, Sequence[Part]] | None = None


def kept(modules: Sequence[Any], x_seq: Any, backend: str = "auto", is_direct: bool = False) -> _Kept:
    """Return the run that took these modules before, if nothing has changed since then."""
    if _reads_now(x_seq) or not all(isinstance(module, nn.Module) for module in modules):
        return _Kept()
    runs = _home(modules)
    if runs is None or "_decisions" in vars(modules[0]):
        return _Kept()
    dtypes = x_seq.dtype, torch.get_default_dtype()
    key = (x_seq.shape[1:], *dtypes, x_seq.device, backend, is_direct, *map(id, modules))
    run = runs.get(key)
    parts = None if run is None else run.parts_now(backend, is_direct)
    return _Kept(runs, key, None if run is None or parts is None else (run, parts))


def first_run(
    modules: Sequence[Any], x_seq: Tensor, backend: str = "auto", is_direct: bool = False
) -> tuple[Run, Sequence[Part]] | str:
    """Return the run of as many modules as possible from the first on, and its parts; or why that one takes the loop.

    Chains among the modules are opened. ``is_direct`` says that a module asks for itself, see :func:`fuse.read`.
    """
    runs, key, found = kept(modules, x_seq, backend, is_direct)
    if found is not None:
        return found
    chains: list[nn.Module] = []
    opened = list(modules if is_direct else flattened(modules, chains))
    like = Like(x_seq.shape[1:], x_seq.dtype, x_seq.device)
    parts: list[Part] = []
    likes: list[Like] = []
    reason, stop = "", None
    for module in opened:
        part = read(module, like, backend, is_direct)
        if isinstance(part, str):
            reason, stop = part, module
            break
        if parts and (shares_state(part, parts) or part.is_whole or parts[-1].is_whole):
            break
        parts.append(part)
        likes.append(like)
        like = after(part, like)
    _note(opened[: max(len(parts), 1)], "" if parts else reason)
    if not parts:
        return reason
    run = Run(parts, likes, opened[len(parts) :])
    if runs is not None and not any(isinstance(place.first, Tensor) for place in run.states):
        run.keep(chains, stop)
        if len(runs) >= MOST_RUNS:
            runs.clear()
        runs[key] = run
    return run, parts


def _note(modules: Sequence[Any], reason: str) -> None:
    """Note how modules run where :func:`snn_core.functional.explain` asks."""
    decisions = vars(modules[0]).get("_decisions") if modules else None
    if decisions is not None:
        scan = 0 if reason else 1 + max((scan for *_, scan in decisions), default=0)
        decisions += [(module, not reason, reason, scan) for module in modules]


def alone(module: Any, x_seq: Tensor, loop: Callable[[Tensor], Tensor]) -> Tensor:
    """Take a sequence through one module, fused if that is possible, else by ``loop``."""
    found = first_run([module], x_seq, is_direct=True)
    return loop(x_seq) if isinstance(found, str) else found[0](x_seq, found[1])


def scan(
    x_seq: Tensor,
    modules: Sequence[Any],
    call: Call,
    backend: str = "auto",
    lengths: Tensor | None = None,
) -> Tensor:
    """Take a sequence through modules, neighbours that can be fused in one scan, the others by ``call``.

    ``lengths``, int64 ``[N]`` on the CPU, say how many steps each sample has; ``call`` knows them.
    """
    if lengths is not None and bool((lengths == len(x_seq)).all()):
        lengths = None
    while modules:
        found = first_run(modules, x_seq, backend)
        if isinstance(found, str):
            first, *modules = flattened(modules)
            x_seq = call(first, x_seq)
            continue
        run, parts = found
        if lengths is not None:
            x_seq = _run_with_lengths(run, parts, x_seq, lengths.to(x_seq.device))
        else:
            x_seq = run(x_seq, parts)
        modules = run.rest
    return x_seq


def whole(net: nn.Module, x_seq: Tensor) -> tuple[Run, list[Tensor | None]] | str:
    """Return the one run that takes a network without states, and its tensors; or why there is none."""
    found = first_run([net], x_seq)
    if isinstance(found, str):
        first = next(flattened([net]), None)
        return "it has no modules" if first is None else f"{type(first).__name__}: {found}"
    run, parts = found
    if run.rest:
        rest = first_run(run.rest, x_seq.new_empty(len(x_seq), *run.step_after))
        name = type(run.rest[0]).__name__
        return f"{name}: {rest}" if isinstance(rest, str) else f"{name} needs a scan of its own"
    if not run.is_dense:
        return "it has neither an nn.Linear nor a linear feedback"
    if any(part.is_whole or part.has_history for part in parts):
        return "it has a convolution or delays"
    if run.recorders:
        return "it records states or outputs of every step"
    if not all(all(stage.used) for stage in run.stages):
        return "it has a parameter that no equation uses"
    if any(getattr(owner, name) is not None for owner, name, *_ in run.states):
        return "it has states from before: call reset_net(net)"
    return run, run.tensors(parts)


def mask_of(lengths: Tensor, T: int) -> Tensor:
    """Return which steps sequences of these lengths have, bool ``[T, N]``."""
    return torch.arange(T, device=lengths.device)[:, None] < lengths


def _run_with_lengths(run: Run, parts: Sequence[Part], x_seq: Tensor, lengths: Tensor) -> Tensor:
    """Take a sequence through a run, each sample through as many steps as it has.

    Samples are sorted by length, so that those of a block end together, and steps that nobody takes cost nothing.
    """
    if x_seq.dim() == 2 and run.is_dense:
        raise ValueError(f"with lengths x_seq must be [T, N, features], got {list(x_seq.shape)}")
    order = lengths.argsort(descending=True, stable=True)
    padding = mask_of(lengths, len(x_seq)).logical_not()
    padding = padding.view(*padding.shape, *[1] * (x_seq.dim() - 2))

    def sort_states(by: Tensor) -> None:
        for owner, name, *_ in run.states:
            state = getattr(owner, name)
            if state is not None:
                owner.keep_state(name, state.index_select(0, by))

    sort_states(order)
    y_seq = run(x_seq.masked_fill(padding, 0).index_select(1, order), parts, lengths[order])
    back = order.argsort()
    sort_states(back)
    return y_seq.index_select(1, back).masked_fill(padding, 0)
