"""The table of all that has a memory in snn_core, read off its classes: equations, states, parameters, sources."""

from __future__ import annotations

import copy
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

import snn_core
from snn_core import cells
from snn_core.functional import explain, reset_net
from snn_core.layer import MultiStepContainer
from snn_core.neuron import IFNode, SpikingNeuron
from snn_core.state import CellModule, MemoryModule
from snn_core.surrogate import ATan

#: What arguments without a default are given, by their names.
SIZE = 4
GIVEN: dict[str, Any] = {
    "sub_module": IFNode(surrogate_function=ATan()),
    "element_wise_function": torch.add,
    "in_features": SIZE,
    "out_features": SIZE,
    "in_channels": SIZE,
    "out_channels": SIZE,
    "kernel_size": 3,
    "max_delay": 2,
}
STEPS = (torch.ones(2, SIZE), torch.ones(2, SIZE, 5, 5))
#: Modules of snn_core that hold no memory of a network, though their classes have states.
ELSEWHERE = ("snn_core.state", "snn_core.kernels")


def arguments(kind: type) -> dict[str, Any]:
    """Return the arguments of a class with their defaults, those included that it hands on to its base."""
    found: dict[str, Any] = {}
    for each in kind.__mro__:
        if "__init__" in vars(each):
            taken = inspect.signature(each).parameters.values()
            handed_on = [one for one in taken if one.kind is inspect.Parameter.VAR_KEYWORD]
            found = {one.name: one.default for one in taken if one not in handed_on} | found
            if not handed_on:
                break
    return found


def build(kind: type[MemoryModule], **more: Any) -> MemoryModule:
    """Return a small module of a class, with all arguments at their defaults but for ``more``."""
    needed = [name for name, default in arguments(kind).items() if default is inspect.Parameter.empty]
    return kind(**({name: copy.deepcopy(GIVEN[name]) for name in needed} | more))


def step_for(module: nn.Module) -> torch.Tensor | None:
    """Return an input of one time step that ``module`` takes; None if it is only a base of others."""
    for step in STEPS:
        reset_net(module)
        try:
            module(step)
        except NotImplementedError:
            return None
        except ValueError:
            continue
        reset_net(module)
        return step
    raise ValueError(f"{type(module).__name__} takes none of the steps that tools/states_table.py tries")


def kinds() -> Iterator[type[MemoryModule]]:
    """Give each public class for single time steps that has a state, in the order of its module."""
    seen: set[type] = set()
    names = sorted(info.name for info in pkgutil.iter_modules(snn_core.__path__, "snn_core."))
    for name in sorted(names, key=lambda name: ["neuron" not in name, "synapse" not in name, name]):
        if name.startswith(ELSEWHERE):
            continue
        module = importlib.import_module(name)
        for kind in (getattr(module, public) for public in getattr(module, "__all__", ())):
            has_state = inspect.isclass(kind) and issubclass(kind, MemoryModule)
            if not has_state or kind in seen or getattr(kind, "takes_sequences", False):
                continue
            seen.add(kind)
            if step_for(build(kind)) is not None:
                yield kind


def parameters(kind: type[MemoryModule]) -> list[str]:
    """Return the parameters of a class, those among them that it has only when an argument asks for them."""
    found = dict.fromkeys(_own(build(kind)))
    for argument, default in arguments(kind).items():
        wish: Any
        if argument.startswith("learn"):
            wish = True
        elif isinstance(default, float) or (argument, default) == ("weight", None):
            wish = nn.Parameter(torch.tensor(default or 0.0))
        else:
            continue
        try:
            found |= dict.fromkeys(_own(build(kind, **{argument: wish})))
        except TypeError:  # it is a fixed number
            continue
    return list(found)


def _own(module: MemoryModule) -> list[str]:
    return [name for name, _ in module.named_parameters() if not name.startswith("sub_module.")]


def equation(kind: type) -> str:
    """Return the first equation of a class's docstring, in one line.

    Raises:
        ValueError: there is none.
    """
    text = inspect.getdoc(kind) or ""
    found = re.search(r"\.\. math::((?:.*\n)(?:(?:[ \t].*)?\n)*)|:math:`([^`]*)`", f"{text}\n")
    if found is None:
        raise ValueError(f"{kind.__name__} must have an equation in its docstring")
    line = (found[1] or found[2]).replace("&", "").replace(r"\\", r"\qquad")
    return " ".join(line.split())


def source(kind: type) -> str:
    """Return a link to where a class's equations come from, or nothing where the docstring names no source."""
    texts = [
        vars(each).get("__doc__") or "" for each in kind.__mro__ if each.__module__.startswith("snn_core")
    ]
    texts += [cells.__doc__ or ""] if issubclass(kind, SpikingNeuron) else []
    links = re.findall(r"https://\S+[^\s.,)]", "\n".join(texts))
    return f"[{links[0].removeprefix('https://')}]({links[0]})" if links else ""


def fused(kind: type[MemoryModule]) -> str:
    """Return "yes", or why a sequence is not fused."""
    module = build(kind)
    step: Any = step_for(module)
    *_, decision = explain(MultiStepContainer(module), torch.stack([step] * 4))
    return "yes" if decision.fused else f"no: {decision.reason}"


def states_table() -> str:
    """Return the table: a row for each class, with a line for each of its equations."""
    rows = ["| class | equation | states | parameters | source | fused |", "|---|---|---|---|---|---|"]
    for kind in kinds():
        names = [kind.__name__]
        if issubclass(kind, CellModule) and hasattr(
            importlib.import_module(kind.__module__), f"MultiStep{names[0]}"
        ):
            names.append(f"MultiStep{names[0]}")
        code = [
            ", ".join(f"`{name}`" for name in listed)
            for listed in (names, build(kind)._state_names, parameters(kind))
        ]
        lines = "<br>".join(f"${line}$" for line in re.split(r",? *\\qquad *", equation(kind)))
        cells_of_row = [code[0], lines, code[1], code[2], source(kind), fused(kind)]
        rows.append(f"| {' | '.join(cells_of_row)} |")
    return "\n".join(rows) + "\n"
