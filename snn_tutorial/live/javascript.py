"""Cells and networks as JavaScript: a cell's function is written from the same program that the kernels run.

See :mod:`snn_core.backend.equations`. So a neuron, a user's own included, has its equations once, in torch, and what
moves on a page computes what the library computes, in double precision.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from snn_core.backend import plan
from snn_core.backend.equations import program_of
from snn_core.backend.limits import MOST_STATES
from snn_core.backend.symbols import Program, parse
from snn_core.cells import Cell
from snn_core.checks import Like

#: What the statements of a program call.
PRELUDE = """const {exp, log, sqrt, tanh, atan, abs: fabs} = Math;
const select = (condition, a, b) => condition ? a : b;
const maximum = (a, b) => Math.max(a, b), minimum = (a, b) => Math.min(a, b);
"""


def cell_function(cell: Cell) -> str:
    """Return a cell's time step as a JavaScript function, see ``CellStep`` in ``scan.js``.

    Raises:
        NotScalarError: its equations do something other than arithmetic on each neuron by itself.
    """
    program, constants = program_of(cell)
    return _function(program, constants)


def _function(program: Program, constants: Iterable[float]) -> str:
    values = {"one": "1", "zero": "0"} | {f"c{k}": _literal(c) for k, c in enumerate(constants)}
    if any("erf(" in line for line in program.forward):
        raise ValueError("JavaScript has no function erf")
    states, parameters = range(program.states), range(program.parameters)
    lines = [
        "const x = inputs[j];",
        *(f"const v{k} = v[{k}][j];" for k in states),
        *(f"const p{k} = p[{k}][j % p[{k}].length];" for k in parameters),
        *(f"const {line};" for line in program.forward),
        *(
            f"{to} = {name};"
            for to, name in zip(["y[j]", *(f"v[{k}][j]" for k in states)], program.outputs, strict=True)
        ),
    ]
    body = re.sub(r"\b(one|zero|c\d+)\b", lambda found: values[found.group()], "\n    ".join(lines))
    return f"(n, inputs, v, p, y) => {{\n  for (let j = 0; j < n; j++) {{\n    {body}\n  }}\n}}"


def _literal(number: float) -> str:
    return json.dumps(number) if number >= 0 else f"({json.dumps(number)})"


def network_stages(
    modules: Iterable[nn.Module], inputs: int, written: Callable[[Tensor], Any] = lambda weight: None
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return layers as ``scan.js`` takes them, and the functions of their cells by name.

    Args:
        modules: the layers, in their order; in fp64, so that what is derived from their parameters is exact.
        inputs: features of a time step.
        written: what is written for a weight, or a cell's parameter; None for its numbers.

    Raises:
        ValueError: a layer that the page does not know, such as a feedback with delays.
    """

    def numbers(tensor: Tensor | None) -> Any:
        if tensor is None:
            return None
        found = written(tensor)
        return tensor.detach().flatten().tolist() if found is None else found

    def weights(weight: Tensor | None, bias: Tensor | None) -> dict[str, Any]:
        return {"weight": numbers(weight), "bias": numbers(bias)}

    stages, functions, like = [], {}, Like((1, inputs), torch.float64, torch.device("cpu"))
    for module in modules:
        while plan.is_chain(module) and len(module) == 1:
            module = module[0]
        part = plan.read(module, like)
        if part is None or part.stage.feedback > 1 or part.is_whole:
            raise ValueError(f"the page does not know {type(module).__name__}")
        stage = part.stage
        if stage.kernel == "linear":
            weight, bias = part.tensors
            stages.append(
                {"kind": "linear", "inputs": stage.inputs, "outputs": stage.outputs, **weights(weight, bias)}
            )
        else:
            program = parse(stage.kernel)
            function = _function(program, stage.numbers[MOST_STATES:])
            name = next(
                (name for name, known in functions.items() if known == function), f"cell{len(functions)}"
            )
            functions[name] = function
            feedback = part.tensors[stage.states + 1 : stage.states + 3] if stage.feedback else None
            parameters = part.tensors[len(part.tensors) - stage.parameters :]
            stages.append(
                {
                    "kind": "cell",
                    "cell": name,
                    "outputs": stage.outputs,
                    "initial": list(stage.numbers[: stage.states]),
                    "parameters": [numbers(one) for one in parameters],
                    "feedback": weights(*feedback) if feedback else None,
                }
            )
        like = like._replace(shape=(1, stage.outputs))
    return stages, functions
