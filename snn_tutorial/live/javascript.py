"""Cells and networks as JavaScript: a cell's function is written from the same program that the kernels run.

See :mod:`snn_core.kernels`. So a neuron, a user's own included, has its equations once, in torch, and what
moves on a page computes what the library computes, in double precision.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from sequential_fmnist.networks import detach_resets, hidden_and_readout
from snn_core.cells import Cell
from snn_core.checks import Like
from snn_core.fuse import is_chain, read
from snn_core.kernels import equations
from snn_core.surrogate import ATan, Sigmoid


class Code(str):
    """JavaScript within a view's data, which is written as it is."""


#: What the statements of a program call.
PRELUDE = """const {exp, log, log1p, sqrt, sin, cos, tanh, atan, floor, pow, abs: fabs} = Math;
const select = (condition, a, b) => condition ? a : b;
const maximum = (a, b) => Math.max(a, b), minimum = (a, b) => Math.min(a, b);
const rint = (a) => fabs(a % 1) === 0.5 ? 2 * Math.round(a / 2) : Math.round(a);
const modulo = (a, b) => a % b && a % b < 0 !== b < 0 ? (a % b) + b : a % b;
"""

#: Where the gradient through the reset is cut: ``detach_reset`` of the hidden and of the read-out neurons.
CUTS: dict[str, tuple[bool, bool]] = {
    "in all neurons": (True, True),
    "in hidden neurons": (True, False),
    "nowhere": (False, False),
}


def cell_code(cell: Cell) -> dict[str, Any]:
    """Return a cell as ``Cell`` in ``scan.js``: functions for a time step and for its gradient, and first states.

    Raises:
        ValueError: its equations do something other than arithmetic on each neuron by itself.
    """
    found = equations.program_of(cell)
    if isinstance(found, str):
        raise ValueError(found)
    program, numbers, _ = found
    return _code(program.code, numbers)


def _code(code: equations.Code, numbers: bytes) -> dict[str, Any]:
    states, parameters = range(code.states), range(code.parameters)
    initial, constants = equations.unpacked(numbers, code)
    values = {"one": "1", "zero": "0"} | {f"c{k}": _literal(c) for k, c in enumerate(constants)}

    def function(arguments: str, given: list[str], statements: Sequence[Any], results: Iterable[str]) -> Code:
        if any(line.operation == "erf" for line in statements):
            raise ValueError("JavaScript has no function erf")
        lines = [
            "const x = inputs[j];",
            *(f"const v{k} = v[{k}][j];" for k in states),
            *(f"const p{k} = p[{k}][j % p[{k}].length];" for k in parameters),
            *given,
            *(f"const {line};" for line in statements),
            *results,
        ]
        body = re.sub(r"\b(one|zero|c\d+)\b", lambda found: values[found.group()], "\n".join(lines))
        return Code(f"(n, inputs, v, p, {arguments}) => {{\nfor (let j = 0; j < n; j++) {{\n{body}\n}}\n}}")

    after = ["y[j] =", *(f"v[{k}][j] =" for k in states)]
    before = ["gX[j] =", *(f"gV[{k}][j] =" for k in states)]
    before += [f"gP[{k}][j % gP[{k}].length] +=" for k in parameters]
    given = ["const g_y = gY[j];", *(f"const g_v{k} = gV[{k}][j];" for k in states)]
    outputs = map("{} {};".format, after, code.outputs)
    gradients = map("{} {};".format, before, code.gradients)
    return {
        "step": function("y", [], code.forward, outputs),
        "back": function("gY, gV, gX, gP", given, code.backward, gradients),
        "initial": initial,
    }


@cache
def operations() -> dict[str, Any]:
    """Return what ``operations.js`` exports: the operations of statements, and derivatives of surrogate functions.

    A derivative is called once with symbols, and becomes a function that records the same statements on a page.
    """
    written = {}
    for name, one in equations.OPERATIONS.items():
        if name == "erf":  # which JavaScript lacks
            continue
        count = len(set(re.findall(r"{\d}", one.text)))
        arguments = ["f", "a", "b"][one.conditions == 0 :][:count]  # a flag's name begins with f
        text = one.text.replace("one", "1.0").replace("zero", "0.0")
        value = Code(f"({', '.join(arguments)}) => {text.format(*arguments)}")
        derivative = None if one.derivative is None else _recorded(["g", "r", *arguments], one.derivative)
        written[name] = {
            "text": text, "value": value, "derivative": derivative, "infinite_at": one.infinite_at,
        }  # fmt: skip
    slopes = {type(one).__name__: _recorded(["a"], one.derivative) for one in (ATan(), Sigmoid())}
    return {"OPERATIONS": written, "SLOPES": slopes}


def _recorded(arguments: list[str], function: Callable[..., Any]) -> Code:
    """Return a function that records on a tape what another one does with symbols of these names."""
    tape = equations.Tape(None)
    given = [equations.Symbol(tape, name) for name in arguments]
    slope = [lambda a: equations.Symbol(tape, "tape.slope(tape, a)")] * ("g" in arguments)
    with torch.enable_grad():
        results = function(*given, *slope)
    names = {"one": "tape.one", "zero": "tape.zero"} | {
        f"c{k}": _literal(c) for k, c in enumerate(tape.constants)
    }

    def name_of(symbol: Any) -> str:
        return "null" if symbol is None else names.get(symbol.name, symbol.name)

    lines = [
        f'const {result.name} = tape.record("{name}", {", ".join(map(name_of, of))});'
        for result, name, of, _ in tape.statements
    ]
    found = f"[{', '.join(map(name_of, results))}]" if isinstance(results, tuple) else name_of(results)
    return Code(f"(tape, {', '.join(arguments)}) => {{ {' '.join(lines)} return {found}; }}")


def _literal(number: float) -> str:
    return json.dumps(number) if number >= 0 else f"({json.dumps(number)})"


def with_cut(net: nn.Module, cut: str) -> nn.Module:
    """Cut the gradient through the reset where one of :data:`CUTS` says, and return the network."""
    detach_resets(net, *CUTS[cut])
    return net


def network_code(name: str, net: nn.Module, cells: dict[str, Any]) -> dict[str, Any]:
    """Return a network as ``Described`` in ``scan.js``: its layers, its children, for each of :data:`CUTS`.

    Args:
        name: what the page calls it.
        net: a chain in fp64, so that what is derived from its parameters is exact. Its synapse, if any, is ``sy1``.
            The page shows its last hidden layer, see :func:`~sequential_fmnist.networks.hidden_and_readout`.
        cells: cells by their names; those of the layers are added.

    Raises:
        ValueError: a layer that the page does not know, such as a feedback with delays.
    """
    parts = [part for part, _ in net.named_children()]
    return {
        "name": name,
        "hidden": parts.index(hidden_and_readout(net)[0][-1]),
        "synapse": parts.index("sy1") if "sy1" in parts else None,
        "cuts": {cut: _stages(with_cut(net, cut), cells) for cut in CUTS},
    }


def _stages(net: nn.Module, cells: dict[str, Any]) -> list[dict[str, Any]]:
    names = {id(tensor): name for name, tensor in net.named_parameters()}

    def named(tensor: Tensor) -> str | list[float]:
        return names.get(id(tensor)) or tensor.detach().flatten().tolist()

    stages: list[dict[str, Any]] = []
    first = next(module for module in net.modules() if isinstance(module, nn.Linear))
    like = Like(torch.Size((1, first.in_features)), torch.float64, torch.device("cpu"))
    for module in net.children():
        while is_chain(module) and len(module) == 1:
            module = module[0]
        stage = read(module, like)
        if isinstance(stage, str) or stage.kind.taps or stage.kind.outputs != stage.kind.shape[-1]:
            raise ValueError(f"the page does not know {type(module).__name__}")
        tensors = dict(zip(stage.kind.tensors(), stage.tensors, strict=True))
        weights = [tensors["WEIGHT", 0], tensors["BIAS", 0]] if stage.kind.is_dense else []
        if any(one is None for one in weights):
            raise ValueError(f"the page knows no {type(module).__name__} without bias")
        cell = None
        if stage.kind.program is not None:
            code = _code(stage.kind.program.code, stage.numbers)
            cell = next((name for name, known in cells.items() if known == code), f"cell{len(cells)}")
            cells[cell] = code
        stages.append(
            {
                "cell": cell,
                "parameters": [named(one) for (name, _), one in tensors.items() if name == "PARAMETER"],
                "weights": [named(one) for one in weights],
            }
        )
        like = like._replace(shape=torch.Size((1, stage.kind.outputs)))
    return stages
