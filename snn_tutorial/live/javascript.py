"""Cells and networks as JavaScript: a cell's function is written from the same program that the kernels run.

See :mod:`snn_core.kernels.record`. So a neuron, a user's own included, has its equations once, in torch, and what
moves on a page computes what the library computes, in double precision.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snn_core.cells import Cell
from snn_core.checks import Like
from snn_core.fuse import is_chain, read
from snn_core.kernels import program as program_of
from snn_core.kernels.record.equations import Recorded


class Code(str):
    """JavaScript within a view's data, which is written as it is."""


#: What the statements of a program call.
PRELUDE = """const {exp, log, sqrt, tanh, atan, abs: fabs} = Math;
const select = (condition, a, b) => condition ? a : b;
const maximum = (a, b) => Math.max(a, b), minimum = (a, b) => Math.min(a, b);
"""


def cell_function(cell: Cell) -> str:
    """Return a cell's time step as a JavaScript function, see ``CellStep`` in ``scan.js``.

    Raises:
        ValueError: its equations do something other than arithmetic on each neuron by itself.
    """
    recorded = program_of(cell)
    if isinstance(recorded, str):
        raise ValueError(recorded)
    return step_function(recorded)


def step_function(recorded: Recorded) -> str:
    """Return a program's forward pass as a JavaScript function, see ``CellStep`` in ``scan.js``."""
    program = recorded.program
    results = ["y[j] =", *(f"v[{k}][j] =" for k in range(program.states))]
    return _function("x, v, p, y", recorded, [], program.forward, results, program.outputs)


def back_function(recorded: Recorded) -> str:
    """Return a program's backward pass as a JavaScript function, see ``CellBack`` in ``scan.js``."""
    program = recorded.program
    states, parameters = range(program.states), range(program.parameters)
    given = ["const g_y = gY[j];", *(f"const g_v{k} = gV[{k}][j];" for k in states)]
    results = [
        "gX[j] =",
        *(f"gV[{k}][j] =" for k in states),
        *(f"gP[{k}][j % gP[{k}].length] +=" for k in parameters),
    ]
    return _function("x, v, p, gY, gV, gX, gP", recorded, given, program.backward, results, program.gradients)


def _function(
    arguments: str,
    recorded: Recorded,
    given: Iterable[str],
    statements: Sequence[str],
    results: Sequence[str],
    names: Sequence[str],
) -> str:
    program, constants = recorded.program, recorded.constants
    values = {"one": "1", "zero": "0"} | {f"c{k}": _literal(c) for k, c in enumerate(constants)}
    if any("erf(" in line for line in statements):
        raise ValueError("JavaScript has no function erf")
    lines = [
        "const x = inputs[j];",
        *(f"const v{k} = v[{k}][j];" for k in range(program.states)),
        *(f"const p{k} = p[{k}][j % p[{k}].length];" for k in range(program.parameters)),
        *given,
        *(f"const {line};" for line in statements),
        *(f"{to} {name};" for to, name in zip(results, names, strict=True)),
    ]
    body = re.sub(r"\b(one|zero|c\d+)\b", lambda found: values[found.group()], "\n    ".join(lines))
    arguments = arguments.replace("x,", "inputs,", 1)
    return f"(n, {arguments}) => {{\n  for (let j = 0; j < n; j++) {{\n    {body}\n  }}\n}}"


def _literal(number: float) -> str:
    return json.dumps(number) if number >= 0 else f"({json.dumps(number)})"


def network_stages(
    net: nn.Module,
    tensors: Mapping[str, Tensor],
    cells: dict[str, Recorded],
    sized: Callable[[int], Any] = lambda size: size,
) -> list[dict[str, Any]]:
    """Return the layers of a network, its children, as ``scan.js`` takes them.

    Args:
        net: the network; in fp64, so that what is derived from its parameters is exact.
        tensors: parameters that are written as ``tensors[name]``; others are written as their numbers.
        cells: programs of cells by their names; those of the layers are added.
        sized: what is written for a number of inputs or outputs.

    Raises:
        ValueError: a layer that the page does not know, such as a feedback with delays.
    """
    names = {id(tensor): name for name, tensor in tensors.items()}

    def numbers(tensor: Tensor | None) -> Any:
        if tensor is not None and id(tensor) in names:
            return Code(f"tensors[{names[id(tensor)]!r}]")
        return None if tensor is None else tensor.detach().flatten().tolist()

    def weights(weight: Tensor | None, bias: Tensor | None) -> dict[str, Any]:
        return {"weight": numbers(weight), "bias": numbers(bias)}

    stages: list[dict[str, Any]] = []
    like = Like((1, net.get_submodule("fc1").in_features), torch.float64, torch.device("cpu"))
    for module in net.children():
        while is_chain(module) and len(module) == 1:
            module = module[0]
        part = read(module, like)
        if isinstance(part, str) or part.has_history or part.is_whole:
            raise ValueError(f"the page does not know {type(module).__name__}")
        stage, outputs = part.stage, sized(part.stage.outputs)
        if stage.program is None:
            stages.append(
                {
                    "kind": "linear",
                    "inputs": sized(stage.inputs),
                    "outputs": outputs,
                    **weights(*part.weights),
                }
            )
        else:
            recorded = Recorded(stage.program, part.constants)
            name = next((name for name, known in cells.items() if known == recorded), f"cell{len(cells)}")
            cells[name] = recorded
            stages.append(
                {
                    "kind": "cell",
                    "cell": name,
                    "outputs": outputs,
                    "initial": list(part.numbers[: stage.states]),
                    "parameters": [numbers(one) for one in part.parameters],
                    "feedback": weights(*part.weights) if stage.feedback else None,
                }
            )
        like = like._replace(shape=(1, stage.outputs))
    return stages


def places(net: nn.Module) -> dict[str, int | None]:
    """Return where the hidden neurons, and the synapse if there is one, stand among the layers."""
    names = [name for name, _ in net.named_children()]
    return {"hidden": names.index("sn1"), "synapse": names.index("sy1") if "sy1" in names else None}
