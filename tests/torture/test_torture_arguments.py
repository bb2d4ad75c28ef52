"""Bad arguments, of command lines and of the library: one line that names the argument, or a documented exception.

The command lines are generated: for each flag of each parser, texts that its kind does not take. The library's calls
stand in a table with a row for every public name; a new one without a row fails the first test of its kind.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import inspect
import io
import os
import pkgutil
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import make_embedded_subset
import make_japanese_vowels
import numpy as np
import pytest
import run_notebooks
import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from support import ROOT
from torch import nn

import experiments.__main__ as experiments_main
import sequential_fmnist
import snn_core
import snn_exchange as exchange
import snn_tutorial
from benchmarks import large_layers, long_run, throughput
from benchmarks.cells import __main__ as cells_main
from experiments import evidence, ship
from sequential_fmnist import (
    batches,
    checkpoint,
    command,
    config,
    data,
    distributed,
    evaluation,
    files,
    memory,
    output,
    pretrained,
    provenance,
    sources,
    stopping,
    train,
    trainer,
    training,
    vowels,
)
from sequential_fmnist import networks as network
from snn_core import (
    cells,
    checks,
    functional,
    kernels,
    layer,
    neuron,
    numbers,
    recurrent,
    state,
    surrogate,
    synapse,
)
from snn_core.more import batch_norm, check_cell, delays, lengths, monitor
from snn_tutorial import exercises, measure, probe, ridge
from snn_tutorial.plot import __main__ as plot_main

# Command lines -------------------------------------------------------------------------------------------------------

HUGE = "1" + "0" * 30
WORDS = ["", " ", "x", "ünïcode ☃", "0x10", "1e3x", "--", "NaN", "\0", "四"]
#: Texts that no flag of a kind takes.
WHOLE = [
    *WORDS,
    "-1",
    "1.5",
    "1e400",
    HUGE,
    "9" * 400,
    "nan",
    "inf",
    "-inf",
    str(2**64),
    "2147483648.0",
    "1,000",
]
NUMBER = [*(word for word in WORDS if word != "NaN"), "-1", "1e400", "nan", "inf", "-inf", "9" * 400, "1,5"]
WORD = [*WORDS, "SGD", "1", "None"]
FOLDER = ["", "{file}"]
TARGET = ["", "{folder}"]

#: For each command line: its main, arguments that keep it short, and flags with texts that are refused.
LINES: dict[str, tuple[Callable[[list[str]], Any], dict[str, list[str]]]] = {
    "python -m sequential_fmnist": (
        train.main,
        {
            "--data-path": ["", "\0", "{folder}", "{file}"],
            "--device": [*WORDS, "tpu", "meta", "cuda:99", "cpu:x"],
            "--batch-size": [*WHOLE, "0"],
            "-b": [*WHOLE, "0"],
            "--epochs": [*WHOLE, "0"],
            "--workers": [*WHOLE, "1025"],
            "-j": WHOLE,
            "--lr": [*NUMBER, "0", "1e-400"],
            "--opt": WORD,
            "--lrs": [word for word in WORD if word != "None"],
            "--step-size": [*WHOLE, "0"],
            "--step-gamma": [*NUMBER, "0"],
            "--cosa-tmax": [*WHOLE, "0"],
            "--momentum": [*NUMBER, "1", "2"],
            "--wd": NUMBER,
            "--weight-decay": NUMBER,
            "--output-dir": FOLDER,
            "--resume": ["", "\0", "{folder}", "{file}", "{folder}/missing.pt"],
            "--start-epoch": [*WHOLE, "64", "65", "2147483647"],
            "--model": [*WORD, "Plain", "gru"],
            "--hidden": [*WHOLE, "0"],
            "--backend": [*WORD, "cuda"],
            "--loss": WORD,
            "--clip": [*NUMBER, "0"],
            "--seed": [*WHOLE, "4294967296"],
            "--order": WORD,
            "--source": WORD,
            "--threads": [*WHOLE, "0", "1025"],
        },
    ),
    "python -m sequential_fmnist.data": (
        data.main,
        {"--data-path": ["", "\0", "{folder}", "{file}"], "--source": WORD},
    ),
    "python -m snn_tutorial.plot": (
        plot_main.main,
        {"--results": [*FOLDER, "{folder}", "{folder}/missing"], "--figures": FOLDER},
    ),
    "python -m experiments": (
        experiments_main.main,
        {"--jobs": [*WHOLE, "0", "1025"], "--runs": TARGET, "": ["nosuch", "ünïcode ☃", "best,size"]},
    ),
    "python -m experiments.ship": (
        ship.main,
        {"--runs": ["", "{folder}", "{folder}/missing"], "--folder": FOLDER},
    ),
    "run_notebooks": (
        run_notebooks.main,
        {
            "--epochs": [*WHOLE, "0", "3"],
            "--source": [*WORD, "embedded"],
            "--out": FOLDER,
            "": ["99", "x", "-1"],
        },
    ),
    "make_embedded_subset": (make_embedded_subset.main, {"--out": FOLDER}),
    "make_japanese_vowels": (
        make_japanese_vowels.main,
        {"--out": TARGET, "": ["", "\0", "{folder}", "{file}", "{folder}/missing"]},
    ),
    "python -m benchmarks.throughput": (
        throughput.main,
        {"--out": TARGET, "--envs": [*FOLDER], "--source": [*WORD, "auto"], "--libraries": [*WORD, "numpy"]},
    ),
    "python -m benchmarks.cells": (
        cells_main.main,
        {"--out": TARGET, "--envs": [*FOLDER], "--libraries": [*WORD, "sinabs"]},
    ),
    "python -m benchmarks.large_layers": (
        large_layers.main,
        {"--out": TARGET, "--envs": [*FOLDER], "--libraries": [*WORD, "spyx"]},
    ),
    "python -m benchmarks.long_run": (
        long_run.main,
        {"--out": TARGET, "--envs": [*FOLDER], "--source": [*WORD, "auto"], "--libraries": [*WORD, "norse"]},
    ),
}

#: Combinations that exclude each other, or that cannot be done, with what the line must name.
COMBINED: list[tuple[str, list[str], str]] = [
    ("python -m sequential_fmnist", ["--cuda-graph", "--device", "cpu"], "cuda_graph"),
    ("python -m sequential_fmnist", ["--cuda-graph", "--amp"], "cuda_graph"),
    ("python -m sequential_fmnist", ["--epochs", "2", "--start-epoch", "2"], "epochs"),
    ("python -m sequential_fmnist", ["--epochs", "2", "--start-epoch", "3", "--seed", "1"], "epochs"),
    ("python -m sequential_fmnist", ["--source", "embedded", "--data-path", "{folder}"], "data_path"),
    ("python -m sequential_fmnist", ["--seed", "-1", "--seed", "1"], "--seed"),
    ("python -m sequential_fmnist", ["--seed", "1", "--seed", "x"], "--seed"),
    ("python -m sequential_fmnist", ["--tb", "1"], "1"),
    ("python -m sequential_fmnist", ["--amp=yes"], "--amp"),
    ("python -m sequential_fmnist", ["--hid", "3"], "--hid"),
    ("python -m sequential_fmnist", ["--step", "3"], "--step"),
    ("python -m sequential_fmnist", ["plain"], "plain"),
    ("python -m sequential_fmnist", ["--hidden", "2147483647", "--model", "feedback"], "--hidden"),
    ("python -m sequential_fmnist.data", ["--source", "embedded", "--data-path", "{folder}"], "data_path"),
    ("run_notebooks", ["--epochs", "1", "01"], "--epochs"),
    ("run_notebooks", ["--source", "embedded"], "--source"),
    ("python -m benchmarks.throughput", ["--quick", "--libraries"], "--libraries"),
    ("python -m benchmarks.throughput", ["--quick", "yes"], "yes"),
]

Line = tuple[str, list[str], str]


def lines() -> list[Line]:
    """Return bad command lines: the command, its arguments, and the argument that the answer must name."""
    found: list[Line] = list(COMBINED)
    for name, (_, flags) in LINES.items():
        for flag, texts in flags.items():
            for text in texts:
                found.append((name, [flag, text] if flag else [text], flag or text))
                if flag.startswith("--") and len(text) < 5:
                    found.append((name, [f"{flag}={text}"], flag))
            if flag and flag != "--resume":  # which alone means the output folder's latest one
                found += [(name, [flag], flag)]
        found += [(name, [flag], flag) for flag in ("--nosuch", "-Z", "--ünïcode")]
        found += [(name, ["--nosuch", "1"], "--nosuch")]
    return found


def test_every_flag_of_every_command_line_is_tried():
    for name, (main, flags) in LINES.items():
        with contextlib.redirect_stdout(io.StringIO()) as shown, pytest.raises(SystemExit, match="0"):
            main(["--help"])
        words = shown.getvalue().replace(",", " ").replace("[", " ").replace("]", " ").split()
        offered = {word for word in words if word.startswith("--")} - {"--help", "--version"}
        switches = {
            "--cache-dataset",
            "--cuda-graph",
            "--amp",
            "--tb",
            "--overwrite",
            "--quick",
            "--short",
            "--scheduler",
        }
        assert offered - set(flags) <= switches | {"--resume"}, name


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, str]:
    """A file, an empty folder, and one that holds something."""
    root = tmp_path_factory.mktemp("arguments")
    for name in ("folder", "full", "work"):
        (root / name).mkdir()
    for path in (root / "file", root / "full" / "precious.txt"):
        path.write_text("not what you think")
    return {name: str(root / name) for name in ("file", "folder", "full", "work")}


@contextlib.contextmanager
def nothing_is_done() -> Iterator[None]:
    """Stop whatever starts work, so that a bad argument that was taken is seen at once."""
    work = AssertionError("a bad argument was taken")
    with contextlib.ExitStack() as stack:
        for place, name in [
            (trainer.Trainer, "train_epoch"),
            (experiments_main, "sweep"),
            (ship, "train"),
            (run_notebooks, "execute"),
            (throughput, "run"),
            (make_embedded_subset, "save"),
            (sources, "_find_full"),
            (plot_main, "save_figure"),
        ]:
            error = sources.DataError("no data in this test") if name == "_find_full" else work
            stack.enter_context(mock.patch.object(place, name, side_effect=error))
        yield


def answer(main: Callable[[list[str]], Any], argv: list[str]) -> tuple[int, str]:
    """Return the exit status of a command line and what it wrote to stderr."""
    with contextlib.redirect_stderr(io.StringIO()) as shown, contextlib.redirect_stdout(io.StringIO()):
        try:
            status = main(argv) or 0
        except SystemExit as leave:
            status = leave.code
    return int(status), shown.getvalue()


def test_bad_command_lines_end_with_one_line(torture, places, monkeypatch):
    chance = random.Random(5)
    chosen = lines()
    chance.shuffle(chosen)
    chosen = chosen[: torture.count(fast=120, full=len(chosen))]
    monkeypatch.chdir(places["work"])
    statuses = []
    with nothing_is_done():
        for name, argv, named in chosen:
            filled = [text.format(**places) if "{" in text else text for text in argv]
            quick = (
                ["--epochs", "2"]
                if name.endswith("sequential_fmnist") and not {"--epochs", "--start-epoch"} & set(argv)
                else []
            )
            quick += (
                ["--source", "embedded"]
                if name.endswith("sequential_fmnist") and "-path" not in " ".join(argv)
                else []
            )
            if "--source" in " ".join(argv):
                quick = quick[:2] if "--epochs" in quick else []
            try:
                status, said = answer(LINES[name][0], [*quick, *filled])
            except Exception as error:
                raise AssertionError(f"{name} {filled!r}") from error
            assert status in (1, 2), f"{name} {filled!r}: status {status}"
            assert said.count("\n") == 1, f"{name} {filled!r}: {said}"
            assert "Traceback" not in said
            if status == 2:
                stem = named.strip("-").split("=")[0]
                assert stem.replace("-", "_")[:60] in said.replace("-", "_") or argv[0] in said, (
                    f"{filled!r}: {said}"
                )
            statuses.append(status)
    left = {name: [path.name for path in Path(places[name]).iterdir()] for name in ("work", "full")}
    assert left == {"work": [], "full": ["precious.txt"]}
    assert statuses.count(2) > 0.8 * len(statuses)
    torture.figure(
        item=5,
        what="bad command lines, in one process: one line that names the argument, nothing written",
        command_lines=len(statuses),
        refused_with_status_2=statuses.count(2),
        unusable_files_with_status_1=statuses.count(1),
        tracebacks=0,
        seed=5,
    )


REAL = [
    (["-m", "sequential_fmnist", "--seed", HUGE], 2, "--seed"),
    (["-m", "sequential_fmnist.data", "--source", "☃"], 2, "--source"),
    (["-m", "experiments", "--jobs", "0"], 2, "--jobs"),
    (["-m", "snn_tutorial.plot", "--results", "/nonexistent"], 1, "/nonexistent"),
    (["-m", "sequential_fmnist", "--epochs", "9" * 400], 2, "--epochs"),
    (["-m", "sequential_fmnist", "--device", "meta"], 2, "--device"),
    (
        ["-m", "sequential_fmnist", "--resume", "/nonexistent.pt", "--source", "embedded"],
        1,
        "/nonexistent.pt",
    ),
    (["-m", "experiments.ship", "--runs", "/nonexistent"], 1, "/nonexistent"),
    (["-m", "benchmarks.throughput", "--out", "/"], 2, "--out"),
    ([str(ROOT / "tools" / "run_notebooks.py"), "--epochs", "nan"], 2, "--epochs"),
]


def test_bad_command_lines_in_processes_of_their_own(torture, tmp_path):
    chosen = REAL[: torture.count(fast=2, full=len(REAL))]
    for argv, status, named in chosen:
        done = subprocess.run(
            [sys.executable, *argv],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert (done.returncode, done.stderr.count("\n")) == (status, 1), f"{argv}: {done.stderr}"
        assert named in done.stderr
    assert list(tmp_path.iterdir()) == []
    torture.figure(
        item=5, what="bad command lines in real processes", command_lines=len(chosen), tracebacks=0
    )


# The library ---------------------------------------------------------------------------------------------------------

x = torch.zeros(2, 3, 4)
step = torch.zeros(3, 4)
atan = surrogate.ATan()
images = torch.zeros(2, 1, 28, 28)
plain = network.PlainNet()
linear = nn.Linear(4, 4)
train_steps = partial(
    functional.train_steps, net=nn.Sequential(linear), x_seq=x, labels=torch.tensor([0, 1, 3]),
    optimizer=torch.optim.SGD(linear.parameters()),
)  # fmt: skip
cell = {"v_threshold": 1.0, "v_reset": 0.0, "surrogate_function": atan, "detach_reset": False}

Call = Callable[[], Any]
BAD_NUMBERS = [
    "1",
    None,
    1j,
    True,
    [1.0],
    float("nan"),
    float("inf"),
    -float("inf"),
    10**400,
    torch.tensor(1.0),
]
#: Of numbers that a list or a tensor gives to each neuron.
BAD_NUMBERS_OF_NEURONS = [
    *(value for value in BAD_NUMBERS if not isinstance(value, list | torch.Tensor)),
    *([], [float("nan")], [1.0, "x"], [[1.0], [1.0, 2.0]], [None], [True], {"a": 1}),
    *(
        torch.tensor([1j]),
        torch.tensor([]),
        torch.tensor(float("inf")),
        torch.ones(2, requires_grad=True) * 2,
    ),
]
BAD_SIZES = ["3", 3.0, None, True, 0, -1, 10**30, float("nan"), 1j, torch.tensor(3)]
BAD_WEIGHTS = ["1", True, 1j, float("nan"), [], ["a"], [float("inf")], {}, nn.Parameter(torch.ones(0))]
BAD_FLAGS = ["no", 1, None, 0.0, "False", torch.tensor(True)]
BAD_INPUTS = [
    None, "x", 1.0, [[1.0]], np.zeros((2, 3, 4), np.float32), x.long(), x.bool(), x.to(torch.complex64), x.to_sparse(),
]  # fmt: skip
BAD_SEQUENCES = [*BAD_INPUTS, torch.zeros(()), torch.zeros(3), torch.zeros(0, 3, 4)]
#: For x: T = 2, N = 3.
BAD_LENGTHS = [
    "x",
    3,
    [1, 2],
    [1, 2, 3],
    [0, 1, 2],
    [1.0, 2.0, 2.0],
    ["a"] * 3,
    [None] * 3,
    step > 0,
    torch.ones(2, 3),
]


def each(function: Callable[..., Any], values: list[Any], **fixed: Any) -> list[Call]:
    """Return calls with each value as the only positional argument."""
    return [lambda value=value: function(value, **fixed) for value in values]


def named(
    function: Callable[..., Any], name: str, values: list[Any], *first: Any, **fixed: Any
) -> list[Call]:
    """Return calls with each value as the argument ``name``."""
    return [lambda value=value: function(*first, **(fixed | {name: value})) for value in values]


def neurons(kind: type[neuron.SpikingNeuron]) -> list[Call]:
    """Return bad calls of a neuron: of its constructor and of the neuron itself."""
    return [
        *named(kind, "v_threshold", [*BAD_NUMBERS_OF_NEURONS, 0.0, -1.0, [1.0, 0.0], torch.tensor(-1.0)]),
        *named(kind, "refractory", ["3", 3.0, None, True, -1, 257, 10**30, torch.tensor(3)]),
        *named(kind, "v_reset", [value for value in BAD_NUMBERS if value is not None] + [1.0, 2]),
        *named(kind, "surrogate_function", ["atan", surrogate.ATan, 3]),
        *named(kind, "detach_reset", BAD_FLAGS),
        *named(kind, "store_v_seq", BAD_FLAGS),
        *named(kind, "backend", ["gpu", None, 3, "", ["auto"], np.array(["auto"])]),
    ]


def taus(kind: Callable[..., nn.Module], name: str) -> list[Call]:
    """Return bad calls of a time constant: of the constructor, and with steps that it does not fit."""
    return [
        *named(
            kind, name, [*BAD_NUMBERS_OF_NEURONS, 0, 1, 1.0, -2, 0.5, [2.0, 1.0], nn.Parameter(torch.ones(2))]
        ),
        lambda: kind(**{name: [2.0] * 3}).forward_sequence(x),
        lambda: kind(**{name: nn.Parameter(torch.full((2, 4), 2.0))}).forward_sequence(x),
    ]


def leaky(kind: type[neuron.SpikingNeuron]) -> list[Call]:
    return [
        *neurons(kind),
        *taus(kind, "tau"),
        *named(kind, "decay_input", BAD_FLAGS),
    ]


def synapses(kind: type[synapse.StatefulSynapse], name: str) -> list[Call]:
    """Return bad calls of a synapse, of whose time constants this is one."""
    return [
        *named(
            kind, name, ["2", None, 1j, float("nan"), float("inf"), 1, 0, -3, [], [[2.0]], [2.0, 1.0], ["a"]]
        ),
        *named(kind, "learnable", BAD_FLAGS),
        *named(kind, "backend", ["gpu", None]),
        *each(lambda v: kind()(v), BAD_INPUTS),
        *each(lambda v: kind().forward_sequence(v), BAD_SEQUENCES),
        *each(lambda v: kind(**{name: [5.0] * 5}).forward_sequence(v), [x, x[:, :, 0]]),
        lambda: kind(learnable=True).to("meta").forward_sequence(x),
    ]


def surrogates(kind: type[surrogate.SurrogateFunction]) -> list[Call]:
    return [
        *named(kind, "alpha", [*BAD_NUMBERS, 0, -1.0]),
        *named(kind, "spiking", BAD_FLAGS, 2.0),
        *each(lambda value: kind(2.0)(value), BAD_INPUTS),
        *each(lambda value: kind(2.0, spiking=False)(value), BAD_INPUTS),
    ]


def networks(kind: type[nn.Module]) -> list[Call]:
    return [
        *named(kind, "hidden", BAD_SIZES),
        *named(kind, "backend", ["gpu", None, 3]),
        *each(
            kind(),
            [None, "x", images.byte(), images[0], torch.zeros(2, 3, 28, 28), torch.zeros(2, 1, 27, 28)],
        ),
        *each(kind(), [images.double(), images.to("meta"), images[..., :0]]),
        lambda: kind().to("meta")(images),
    ]


def containers(kind: Callable[..., nn.Module], *more: Any) -> list[Call]:
    build = lambda: kind(neuron.IFNode(), *more)  # noqa: E731
    return [
        *each(lambda value: kind(value, *more), [None, "x", neuron.IFNode, neuron.MultiStepIFNode()]),
        *each(lambda value: build()(value), BAD_INPUTS),
        *each(lambda value: build().forward_sequence(value), BAD_SEQUENCES),
    ]


def convolutional(**options: Any) -> nn.Module:
    """Return a container for steps ``[N, 2, H, W]``."""
    good = {"sub_module": neuron.IFNode(), "in_channels": 2, "out_channels": 2, "kernel_size": 3}
    return layer.ConvRecurrentContainer(**(good | options))


def delayed(**options: Any) -> nn.Module:
    """Return a container for steps ``[N, 4]`` and delays of up to two steps."""
    good = {"in_features": 4, "out_features": 4, "max_delay": 2}
    return layer.DelayedRecurrentContainer(neuron.IFNode(), **(good | options))


def fed_back() -> nn.Module:
    return layer.LinearRecurrentContainer(neuron.IFNode(), 4, 4)


#: Parts of a step are bare arithmetic, as the module says: what they cannot add up is torch's error.
TORCH_SAYS = (TypeError, RuntimeError)
BAD_OPERANDS = [None, "x", [1.0], {}]

#: For each public name: calls that must be refused, with TypeError or ValueError unless it says otherwise.
CALLS: dict[str, list[Call]] = {
    "state.MemoryModule": [
        *each(lambda v: state.MemoryModule().forward_sequence(v), BAD_SEQUENCES),
    ],
    "state.CellModule": [*each(lambda v: state.CellModule(v), ["gpu", None, 3])],
    "state.has_state": [],  # what asks it has checked the module
    "state.check_input": each(lambda v: state.check_input(nn.Module(), v), BAD_INPUTS),
    "state.check_sequence": each(lambda v: state.check_sequence(nn.Module(), v), BAD_SEQUENCES),
    "spiking.SpikingNeuron": neurons(neuron.SpikingNeuron),
    "neuron.ParametricLIFNode": [
        *neurons(neuron.ParametricLIFNode),
        *each(lambda v: neuron.ParametricLIFNode(v), [None, "x", [], 1.0, [2.0, 0.5], float("inf")]),
        *named(neuron.ParametricLIFNode, "decay_input", BAD_FLAGS),
        lambda: neuron.ParametricLIFNode([2.0] * 3)(torch.rand(2, 4)),
    ],
    "neuron.MultiStepParametricLIFNode": [
        *each(lambda v: neuron.MultiStepParametricLIFNode()(v), BAD_SEQUENCES),
        lambda: neuron.MultiStepParametricLIFNode([2.0] * 3)(torch.rand(5, 2, 4)),
    ],
    "neuron.IFNode": [
        *neurons(neuron.IFNode),
        *each(lambda v: neuron.IFNode()(v), BAD_INPUTS),
        *each(lambda v: neuron.IFNode().forward_sequence(v), BAD_SEQUENCES),
    ],
    "neuron.LIFNode": [*leaky(neuron.LIFNode), *each(lambda v: neuron.LIFNode()(v), BAD_INPUTS)],
    "neuron.MultiStepIFNode": [
        *neurons(neuron.MultiStepIFNode),
        *each(lambda v: neuron.MultiStepIFNode()(v), BAD_SEQUENCES),
    ],
    "neuron.MultiStepLIFNode": [
        *leaky(neuron.MultiStepLIFNode),
        *each(lambda v: neuron.MultiStepLIFNode()(v), BAD_SEQUENCES),
    ],
    **{f"neuron.{multi}AdaptiveLIFNode": [
        *leaky(kind),
        *taus(kind, "tau_adaptation"),
        *named(kind, "beta", BAD_NUMBERS_OF_NEURONS),
        lambda kind=kind: kind(beta=[1.0] * 3).forward_sequence(x),
        *each(lambda v, kind=kind: kind().forward_sequence(v), BAD_SEQUENCES),
        lambda kind=kind: kind(nosuch=1),
    ] for multi, kind in (("", neuron.AdaptiveLIFNode), ("MultiStep", neuron.MultiStepAdaptiveLIFNode))},
    **{f"neuron.{multi}CUBALIFNode": [
        *leaky(kind),
        *taus(kind, "tau_synapse"),
        *each(lambda v, kind=kind: kind().forward_sequence(v), BAD_SEQUENCES),
    ] for multi, kind in (("", neuron.CUBALIFNode), ("MultiStep", neuron.MultiStepCUBALIFNode))},
    **{f"neuron.{multi}LINode": [
        *taus(kind, "tau"),
        *named(kind, "decay_input", BAD_FLAGS),
        *named(kind, "backend", ["gpu", None, 3]),
        *each(lambda v, kind=kind: kind().forward_sequence(v), BAD_SEQUENCES),
    ] for multi, kind in (("", neuron.LINode), ("MultiStep", neuron.MultiStepLINode))},
    "element_wise.ElementWiseRecurrentContainer": [
        *containers(layer.ElementWiseRecurrentContainer, torch.add),
        *each(lambda v: layer.ElementWiseRecurrentContainer(neuron.IFNode(), v), [None, "add", 3, x]),
        lambda: layer.ElementWiseRecurrentContainer(nn.Linear(4, 5), torch.add)(step),
        *named(layer.ElementWiseRecurrentContainer, "weight", BAD_WEIGHTS, neuron.IFNode(), torch.add),
        *each(
            lambda v: layer.ElementWiseRecurrentContainer(neuron.IFNode(), torch.add, v)(step),
            [[1.0] * 3, [[1.0] * 4] * 3, nn.Parameter(torch.ones(3))],
        ),
    ],
    "recurrent.LinearRecurrentContainer": [
        *containers(layer.LinearRecurrentContainer, 4, 4),
        *named(layer.LinearRecurrentContainer, "in_features", BAD_SIZES, neuron.IFNode(), out_features=4),
        *named(layer.LinearRecurrentContainer, "out_features", BAD_SIZES, neuron.IFNode(), in_features=4),
        *named(layer.LinearRecurrentContainer, "bias", BAD_FLAGS, neuron.IFNode(), 4, 4),
        *named(layer.LinearRecurrentContainer, "self_connections", BAD_FLAGS, neuron.IFNode(), 4, 4),
        lambda: layer.LinearRecurrentContainer(neuron.IFNode(), 4, 3, self_connections=False),
        *each(lambda v: layer.LinearRecurrentContainer(neuron.IFNode(), 4, 4)(v), [x[..., :3], x.double()]),
        *each(
            lambda v: layer.LinearRecurrentContainer(neuron.IFNode(), 4, 4).forward_sequence(v),
            [x[..., :3], x.double(), x.half(), x.to("meta")],
        ),
        lambda: layer.LinearRecurrentContainer(neuron.IFNode(), 4, 4).to("meta").forward_sequence(x),
        lambda: layer.LinearRecurrentContainer(neuron.IFNode(), 4, 4).to("meta")(step),
    ],
    "recurrent.OffDiagonalLinear": [lambda: recurrent.OffDiagonalLinear(2, 3)(torch.ones(1, 2))],
    "more.convolution.ConvRecurrentContainer": [
        *named(convolutional, "sub_module", [None, "x", neuron.IFNode, neuron.MultiStepIFNode()]),
        *[call for size in ("in_channels", "out_channels") for call in named(convolutional, size, BAD_SIZES)],
        *named(convolutional, "kernel_size", [*BAD_SIZES, 2, 4, (3, 3)]),
        *named(convolutional, "bias", BAD_FLAGS),
        *each(lambda v: convolutional()(v), [*BAD_INPUTS, x, x[0], x[:, :2].double(), x[:, :2, None].to("meta")]),
        *each(lambda v: convolutional().forward_sequence(v), [*BAD_SEQUENCES, x, x[:, :, None]]),
        lambda: convolutional(out_channels=3)(torch.ones(1, 2, 4, 4)),
    ],
    "more.delays.DelayedRecurrentContainer": [
        *containers(layer.DelayedRecurrentContainer, 4, 4, 2),
        *[
            call
            for size in ("in_features", "out_features", "max_delay")
            for call in named(delayed, size, BAD_SIZES)
        ],
        *named(delayed, "delays", [*BAD_WEIGHTS, 0.5, 9, [1.0] * 3, [[1.0] * 4] * 4]),
        *[
            call
            for flag in ("learn_delays", "bias", "self_connections")
            for call in named(delayed, flag, BAD_FLAGS)
        ],
        lambda: delayed(out_features=3, self_connections=False),
        *each(lambda v: delayed()(v), [step[:, :3], step.double(), step.to("meta")]),
        lambda: delayed(max_delay=len(x) + 1).forward_sequence(x),
    ],
    "more.delays.delay_taps": [
        *each(lambda v: delays.delay_taps(v, 3), [None, "x", [1.0]]),
        *each(lambda v: delays.delay_taps(step, v), BAD_SIZES),
        *each(lambda v: delays.delay_taps(step, 3, v), [*BAD_NUMBERS, -1.0]),
    ],
    "synapse.SynapseFilter": synapses(synapse.SynapseFilter, "tau"),
    "synapse.LowPassSynapse": synapses(synapse.LowPassSynapse, "tau"),
    "synapse.DoubleExponentialSynapse": [
        *synapses(synapse.DoubleExponentialSynapse, "tau_rise"),
        *synapses(synapse.DoubleExponentialSynapse, "tau_decay"),
        *named(synapse.DoubleExponentialSynapse, "tau_rise", [10.0, 11, [2.0, 12.0], 9.9999]),
        lambda: synapse.DoubleExponentialSynapse([2.0] * 2, [4.0] * 3),
    ],
    "synapse.StatefulSynapse": [
        *each(lambda v: synapse.StatefulSynapse(tau=v), ["2", None, 1, [], [[2.0]], float("nan")]),
        *each(lambda v: synapse.StatefulSynapse(v), BAD_FLAGS),
        *each(lambda v: synapse.StatefulSynapse(False, v), ["gpu", None]),
    ],
    "numbers.NumbersModule": [
        *each(numbers.NumbersModule, ["gpu", None, 3]),
        *each(lambda v: numbers.NumbersModule().keep("number", v), BAD_NUMBERS_OF_NEURONS),
        *each(lambda v: numbers.NumbersModule().keep("number", v, above=0), [0, [1.0, 0.0], -1.0]),
        *each(lambda v: numbers.NumbersModule().keep_tau("tau", v), [*BAD_NUMBERS_OF_NEURONS, 1, [1.0]]),
    ],
    "layer.MultiStepContainer": [
        *each(layer.MultiStepContainer, ["x", neuron.IFNode]),
        *each(lambda v: layer.MultiStepContainer(neuron.IFNode())(v), BAD_SEQUENCES),
    ],
    "layer.SeqToANNContainer": [
        *each(layer.SeqToANNContainer, ["x", nn.Linear]),
        *each(lambda v: layer.SeqToANNContainer(nn.Linear(4, 2))(v), BAD_SEQUENCES[:-1]),
        lambda: layer.SeqToANNContainer(neuron.IFNode())(x),
    ],
    "functional.if_step": [
        *each(lambda v: functional.if_step(v, step, **cell), [*BAD_INPUTS, x]),
        *each(lambda v: functional.if_step(step, v, **cell), [*BAD_INPUTS, step[:1], step.T]),
    ],
    "functional.lif_step": [
        *each(lambda v: functional.lif_step(v, step, tau=2.0, decay_input=True, **cell), [*BAD_INPUTS, x]),
        *each(lambda v: functional.lif_step(step, v, tau=2.0, decay_input=True, **cell), [*BAD_INPUTS, step[:1]]),
    ],
    "cells.Cell": [lambda: cells.Cell(1)],
    "cells.IF": [lambda: cells.IF(), *each(lambda v: cells.IF(1.0, 0.0, atan, False).step(step, (v,)), [None, "x"])],
    "cells.AdaptiveLIF": [lambda: cells.AdaptiveLIF(1.0, 0.0, atan, False, 0.5)],
    "cells.CUBALIF": [lambda: cells.CUBALIF(1.0, 0.0, atan, False, 0.5)],
    "cells.LI": [lambda: cells.LI(0.5)],
    "cells.DoubleExponential": [lambda: cells.DoubleExponential(0.5, 0.75)],
    "cells.fields": [],  # of the engine, as the next three
    "cells.parameters_of": [],
    "checks.does_only_forward": [],
    "checks.is_autocast": [],
    "cells.leaky_charge": each(lambda v: cells.leaky_charge(v, step, 0.5), BAD_OPERANDS),
    "cells.rest": [lambda: cells.rest()],
    "cells.LIF": [lambda: cells.LIF(1.0, 0.0, atan, False)],
    "cells.ParametricLIF": [lambda: cells.ParametricLIF(1.0, 0.0, atan, False)],
    "cells.Synapse": [lambda: cells.Synapse()],
    "cells.ElementWiseFeedback": [lambda: cells.ElementWiseFeedback()],
    "checks.Like": [lambda: checks.Like()],
    "checks.check_taus": each(
        lambda v: checks.check_taus("tau", v), [None, "x", [], [1.0], 0.5, float("nan"), [2.0, "x"]]
    ),
    "checks.check_numbers": [
        *each(lambda v: checks.check_numbers("weight", v), [*BAD_WEIGHTS, *BAD_NUMBERS_OF_NEURONS]),
        *each(lambda v: checks.check_numbers("weight", v, 1), [0.5, 1, [1.0, 7.0], torch.zeros(2), None]),
    ],
    "checks.check_per_neuron": each(
        lambda v: checks.check_per_neuron("IFNode: weight", v, step),
        [torch.ones(3), torch.ones(3, 4), torch.ones(4, device="meta")],
    ),
    "functional.scan": [
        *each(lambda v: functional.scan(v, neuron.IFNode()), BAD_SEQUENCES),
        *each(lambda v: functional.scan(x, v), [None, "x", neuron.IFNode]),
        *each(lambda v: functional.scan(x, neuron.IFNode(), backend=v), ["gpu", None, 3]),
        *each(lambda v: functional.scan(x, neuron.IFNode(), lengths=v), BAD_LENGTHS),
        lambda: functional.scan(x, nn.Linear(3, 2)),
    ],
    "more.lengths.sequence_mask": [
        *each(lambda v: lengths.sequence_mask(v, 5), [None, "x", 3, [6, 1], [-1], [1.5], torch.zeros(2, 2)]),
        *each(lambda v: lengths.sequence_mask([1], v), BAD_SIZES),
    ],
    **{f"more.lengths.{function.__name__}": [
        *each(function, BAD_SEQUENCES),
        *each(lambda v, function=function: function(x, v), BAD_LENGTHS),
    ] for function in (lengths.mean_over_time, lengths.last_step)},
    "cells.if_charge": each(lambda v: functional.if_charge(step, v), BAD_OPERANDS),
    "cells.lif_charge": each(lambda v: functional.lif_charge(v, step, 2.0), BAD_OPERANDS),
    "cells.fire": [
        *each(lambda v: functional.fire(v, 1.0, atan), [None, "x", [1.0], x.long()][:3]),
        *each(lambda v: functional.fire(step, 1.0, v), [None, "x", 3]),
    ],
    "cells.reset": each(lambda v: functional.reset(step, v, 1.0, 0.0, False), BAD_OPERANDS),
    "cells.synapse_filter_step": each(lambda v: functional.synapse_filter_step(step, v, 0.5), BAD_OPERANDS),
    "functional.reset_net": each(functional.reset_net, [None, "net", neuron.IFNode, [plain]]),
    "functional.detach_net": each(functional.detach_net, [None, "net", neuron.IFNode, [plain]]),
    "functional.explain": each(functional.explain, [None, "net", neuron.IFNode, [plain]]),
    "functional.train_steps": [
        *named(train_steps, "net", [None, "net", nn.Linear, neuron.IFNode()]),
        *named(train_steps, "x_seq", [*BAD_SEQUENCES, step]),
        *named(train_steps, "labels", [None, [0, 1, 2], torch.zeros(3), torch.tensor([0, 1])]),
        *named(train_steps, "labels", [torch.tensor([0, 1, -1]), torch.tensor([0, 1, 4])]),
        *named(train_steps, "optimizer", [None, torch.optim.AdamW(linear.parameters())]),
        *named(train_steps, "loss", ["hinge", None, 3, ["mse"]]),
        *named(train_steps, "index", ["all", [[0]], torch.tensor([0]), torch.tensor([[3]]), torch.tensor([[-1]])]),
        *named(train_steps, "clip", [*(value for value in BAD_NUMBERS if value is not None), 0, -1.0]),
    ],
    "functional.derived": [
        *each(lambda v: functional.derived(v, x[0]), [None, "net", neuron.IFNode, plain, nn.Linear(4, 2)]),
        *each(lambda v: functional.derived(neuron.IFNode(), v), BAD_INPUTS),
        lambda: functional.derived(neuron.IFNode(backend="torch"), x[0]),
    ],
    "more.check_cell.Report": [],
    "more.check_cell.check_cell": [
        *each(check_cell.check_cell, [None, "node", neuron.IFNode, neuron.MultiStepIFNode()]),
        *each(lambda v: check_cell.check_cell(neuron.IFNode(), v), [*BAD_SEQUENCES, "345", (3,), (1, 2, 3)]),
        *each(lambda v: check_cell.check_cell(neuron.IFNode(), v), [(3, 0, 2), (3, 2.0, 2), x[:1]]),
    ],
    "functional.states": each(functional.states, [None, "net", neuron.IFNode, [plain]]),
    "functional.seq_to_ann_forward": [
        *each(lambda v: functional.seq_to_ann_forward(v, nn.Linear(4, 2)), BAD_SEQUENCES[:-1]),
        *each(lambda v: functional.seq_to_ann_forward(v, nn.Linear(4, 2)), [x[..., :3], x.double()]),
        *each(lambda v: functional.seq_to_ann_forward(x, v), [None, 3, nn.Linear, [None], ["x"], neuron.IFNode()]),
        *each(lambda v: functional.seq_to_ann_forward(x, nn.Linear(4, 2), v), ["gpu", None]),
        lambda: functional.seq_to_ann_forward(x, nn.Flatten(0)),
        lambda: functional.seq_to_ann_forward(x, nn.Linear(4, 2, device="meta")),
    ],
    "more.monitor.LayerActivity": [lambda: monitor.LayerActivity()],
    "more.monitor.Monitor": [
        *each(monitor.Monitor, [None, "net", neuron.IFNode, [plain], nn.Linear(2, 2)]),
        *each(lambda v: monitor.Monitor(plain, v), [None, 3, "fc3", "fc1", neuron.IFNode(), neuron.IFNode, ["sn1"]]),
        *named(monitor.Monitor, "v", BAD_FLAGS, plain),
    ],
    "more.batch_norm.MultiStepBatchNorm": [
        *named(batch_norm.MultiStepBatchNorm, "num_features", BAD_SIZES),
        *named(batch_norm.MultiStepBatchNorm, "scale", [*BAD_NUMBERS, 0, -1.0], 4),
        *each(lambda v: batch_norm.MultiStepBatchNorm(4)(v), [*BAD_SEQUENCES, x[..., :3], step, x[:1, :1]]),
    ],
    "more.batch_norm.fold_batch_norm": [
        *each(batch_norm.fold_batch_norm, [None, "net", nn.Linear, [plain], batch_norm.MultiStepBatchNorm(4)]),
        lambda: batch_norm.fold_batch_norm(nn.Sequential(batch_norm.MultiStepBatchNorm(4)).eval()),
    ],
    "surrogate.heaviside": each(surrogate.heaviside, BAD_INPUTS),
    "surrogate.SurrogateFunction": [
        *named(surrogate.SurrogateFunction, "alpha", [*BAD_NUMBERS, 0, -1.0]),
        *named(surrogate.SurrogateFunction, "spiking", BAD_FLAGS, 2.0),
        *each(surrogate.SurrogateFunction(1.0), BAD_INPUTS),
    ],
    **{f"surrogate.{k.__name__}": surrogates(k) for k in (
        surrogate.ATan, surrogate.Erf, surrogate.FastSigmoid, surrogate.Rectangle, surrogate.Sigmoid,
        surrogate.Triangle,
    )},
    **{f"networks.{k.__name__}": networks(k) for k in network.NETWORKS.values()},
    "networks.columns_as_sequence": each(
        network.columns_as_sequence, [None, "x", images.byte(), images[0], torch.zeros(2, 3, 28, 28), images.numpy()]
    ),
    "networks.make_network": [
        *each(network.make_network, ["gru", None, 3, "", ["plain"]]),
        *named(network.make_network, "hidden", BAD_SIZES, "feedback"),
        *named(network.make_network, "backend", ["gpu", None], "plain"),
    ],
    "networks.NetworkSpec": [
        *named(network.NetworkSpec, "hidden", BAD_SIZES),
        *named(network.NetworkSpec, "last", [value for value in BAD_SIZES if value is not None]),
        *[
            call
            for field in ("kind", "neuron", "surrogate_function", "tau_mode", "readout")
            for call in named(network.NetworkSpec, field, ["x", None, 3, "", ["if"]])
        ],
        *[call for f in ("tau_m", "tau") for call in named(network.NetworkSpec, f, [*BAD_NUMBERS, 1, 0, -2.0])],
        *named(network.NetworkSpec, "alpha", [*BAD_NUMBERS, 0, -2.0]),
        *[call for f in ("gain", "recurrent_gain", "scale") for call in named(network.NetworkSpec, f, BAD_NUMBERS)],
        *[
            call
            for field in ("soft_reset", "detach_reset", "frozen_recurrent", "batch_norm", "standardised")
            for call in named(network.NetworkSpec, field, BAD_FLAGS)
        ],
    ],
    "networks.build": each(network.build, [None, "plain", {}, network.NetworkSpec]),
    "networks.SpikingNet": each(network.SpikingNet, [None, "plain", {}, network.NetworkSpec("gru")]),
    "networks.GatedNet": each(network.GatedNet, [None, "gru", network.NetworkSpec()]),
    "networks.fold": each(network.fold, [None, "x", network.SpikingNet]),
    "config.TrainingConfig": [
        *[
            call
            for field in ("hidden", "epochs", "batch_size", "step_size")
            for call in named(config.TrainingConfig, field, BAD_SIZES)
        ],
        *named(config.TrainingConfig, "cosa_tmax", [value for value in BAD_SIZES if value is not None]),
        *named(config.TrainingConfig, "workers", ["0", 0.5, None, True, -1, 1025]),
        *named(config.TrainingConfig, "seed", ["0", 0.5, None, True, -1, 2**32, 10**30]),
        *[call for f in ("lr", "step_gamma") for call in named(config.TrainingConfig, f, [*BAD_NUMBERS, 0, -0.1])],
        *named(config.TrainingConfig, "clip", [*(value for value in BAD_NUMBERS if value is not None), 0]),
        *named(config.TrainingConfig, "momentum", [*BAD_NUMBERS, 1, 1.5, -0.1]),
        *named(config.TrainingConfig, "weight_decay", [*BAD_NUMBERS, -0.1]),
        *[
            call
            for field in ("model", "opt", "lrs", "loss", "order", "backend")
            for call in named(config.TrainingConfig, field, ["x", None, 3, "", ["sgd"]])
        ],
        *[call for f in ("amp", "cuda_graph") for call in named(config.TrainingConfig, f, BAD_FLAGS)],
        *named(config.TrainingConfig, "device", [None, 3, "", "tpu", "meta", "cpu:x"]),
        lambda: config.TrainingConfig(cuda_graph=True),
    ],
    "probe.Activity": [lambda: probe.Activity()],
    "probe.record": [
        *each(lambda v: probe.record(v, images), [None, "x", nn.Linear(2, 2), network.PlainNet]),
        *each(lambda v: probe.record(plain, v), [None, "x", images.byte(), images[0]]),
    ],
    "probe.gradient_by_column": [
        *each(lambda v: probe.gradient_by_column(v, images, torch.tensor([0, 1])), [None, "x", network.PlainNet]),
        *each(lambda v: probe.gradient_by_column(plain, v, torch.tensor([0, 1])), [None, images.byte(), images[0]]),
        *each(lambda v: probe.gradient_by_column(plain, images, v), [None, [0, 1], torch.tensor([0]), torch.zeros(())]),
        *named(
            probe.gradient_by_column, "detach_before", [0, 28, -1, 1.5, "3", True, 10**30],
            plain, images, torch.tensor([0, 1]),
        ),
        *named(probe.gradient_by_column, "last_step_only", BAD_FLAGS, plain, images, torch.tensor([0, 1])),
    ],
    "probe.Trace": [lambda: probe.Trace()],
    "probe.trace": [
        *each(lambda v: probe.trace(v, x), [None, "x", plain, nn.Linear(2, 2), neuron.IFNode]),
        *each(lambda v: probe.trace(neuron.IFNode(), v), [None, [1.0], x.long(), x[:0], torch.zeros(())]),
        lambda: probe.trace(neuron.IFNode(surrogate_function=torch.sign), x),
        lambda: probe.trace(neuron.AdaptiveLIFNode(), x),
        lambda: probe.trace(neuron.IFNode(v_threshold=[1.0] * 4), x),
    ],
    "ridge.LinearReaders": [
        *named(ridge.LinearReaders, "penalty", [*BAD_NUMBERS, 0, -1], step, torch.tensor([0, 1, 2])),
        *named(ridge.LinearReaders, "classes", BAD_SIZES, step, torch.tensor([0, 1, 2])),
        *each(lambda v: ridge.LinearReaders(v, torch.tensor([0, 1, 2])), [None, [1], step.long(), x, step[:2]]),
        *each(
            lambda v: ridge.LinearReaders(step, v),
            [None, [0, 1, 2], torch.zeros(3), torch.tensor([0, 1, 10]), torch.tensor([-1, 0, 1]), torch.tensor([0])],
        ),
        lambda: ridge.LinearReaders(step[:0], torch.zeros(0).long()),
        *each(lambda v: ridge.LinearReaders(step, torch.tensor([0, 1, 2])).weights(v), [None, x, step, torch.zeros(3)]),
        *each(
            lambda v: ridge.LinearReaders(step, torch.tensor([0, 1, 2])).accuracy(v, step, torch.tensor([0, 1, 2])),
            [None, x, torch.zeros(4, 9)],
        ),
    ],
    "measure.autograd_nodes": each(measure.autograd_nodes, [None, "x", [x]]),
    "measure.torch_ops": each(measure.torch_ops, [None, "x"]),
    "measure.interleaved": [
        *named(measure.interleaved, "repeats", BAD_SIZES, {}),
        *named(measure.interleaved, "budget", ["1", None, float("nan"), -1], {}, 1),
    ],
    "measure.medians": [lambda: measure.medians({"a": []})],
    "measure.make_layer": [
        *each(lambda v: measure.make_layer(v, 4, "auto"), ["axon", None]),
        *each(lambda v: measure.make_layer("recurrent layer", v, "auto"), BAD_SIZES),
        *each(lambda v: measure.make_layer("neurons", 4, v), ["gpu", None]),
    ],
    "measure.loop_and_fused": [
        *each(lambda v: measure.loop_and_fused("neurons", v, 2, 2), BAD_SIZES),
        *each(lambda v: measure.loop_and_fused("neurons", 2, v, 2), BAD_SIZES),
        *each(lambda v: measure.loop_and_fused("neurons", 2, 2, v), BAD_SIZES),
        lambda: measure.loop_and_fused("axon", 2, 2, 2),
    ],
    "measure.saved_bytes": each(measure.saved_bytes, [None, "x"]),
    "memory.saved_bytes": each(memory.saved_bytes, [None, "x"]),
    "memory.keep_freed_memory": [lambda: memory.keep_freed_memory(1)],
    "kernels.Shapes": [],  # of the engine, as the next three
    "kernels.Stage": [],
    "kernels.program": [],
    "kernels.scan": [],
    "kernels.check_backend": each(kernels.check_backend, ["gpu", None, 3, "", ["auto"]]),
    "kernels.why_not": [lambda: kernels.why_not("cupy", x), lambda: kernels.why_not("numba", x.to("meta"))],
    "batches.ImageData": [lambda: batches.ImageData()],
    "batches.batches": [lambda: list(batches.batches(None, torch.arange(3), 0, "cpu", 0))],
    "batches.on_device": [lambda: batches.on_device()],
    "checkpoint.CheckpointError": [],
    "checkpoint.check_shapes": [
        lambda: checkpoint.check_shapes({}, {"w": torch.zeros(2)}, "model"),
        lambda: checkpoint.check_shapes({"w": torch.zeros(2), "v": step}, {"w": torch.zeros(2)}, "model"),
        lambda: checkpoint.check_shapes({"w": torch.zeros(3)}, {"w": torch.zeros(2)}, "model"),
        lambda: checkpoint.check_shapes({"w": torch.zeros(2).long()}, {"w": torch.zeros(2)}, "model"),
    ],
    "checkpoint.load_checkpoint": each(checkpoint.load_checkpoint, ["/nonexistent", "/", ""]),
    "checkpoint.save_checkpoint": [lambda: checkpoint.save_checkpoint(None, {})],
    "checkpoint.rng_state": [lambda: checkpoint.rng_state(1)],
    "checkpoint.restore_rng": [lambda: checkpoint.restore_rng()],
    "data.SequentialFashionMNIST": [
        *named(data.SequentialFashionMNIST, "order", ["x", None, 3], source="embedded"),
        *named(data.SequentialFashionMNIST, "source", ["x", None, 3]),
        lambda: data.SequentialFashionMNIST("/nonexistent"),
        lambda: data.SequentialFashionMNIST("/tmp", source="embedded"),
    ],
    "vowels.JapaneseVowels": [
        *each(vowels.JapaneseVowels, BAD_FLAGS),
        *named(vowels.JapaneseVowels, "standardised", BAD_FLAGS),
        *each(lambda v: next(vowels.JapaneseVowels().batches(v)), BAD_SIZES),
    ],
    "data.main": [],  # command lines are tried above
    "train.main": [],
    "train.make_parser": [lambda: train.make_parser(1)],
    "command.Parser": [],
    "command.whole": each(command.whole(1, 5), ["x", "", "1.5", "nan", "0", "6"]),
    "command.number": each(command.number(1, below=2), ["x", "", "1,5", "0.5", "2", "nan"]),
    "command.choice": each(command.choice("a", "b"), ["", "c", "A"]),
    "command.Kind": [lambda: command.Kind(int)],
    "command.option": [lambda: command.option(1)],
    "command.add_option": [lambda: command.add_option(None)],
    "command.from_args": [lambda: command.from_args(None, None)],
    "command.check_options": [lambda: command.check_options(None)],
    "command.path": [],
    "command.folder": [],
    "command.target": [],
    "distributed.Ranks": [lambda: distributed.Ranks(nosuch=1)],
    "distributed.join": [],
    "evidence.Verdict": [lambda: evidence.Verdict("question")],
    "evidence.verdicts": [lambda: evidence.verdicts(None)],
    "evidence.best_table": [lambda: evidence.best_table(None)],
    "evidence.reproduced_table": [lambda: evidence.reproduced_table(None, None)],
    "evidence.cases": [lambda: evidence.cases(None, "size")],
    "evidence.holm": each(evidence.holm, [None, ["x"], [0.5, float("nan")], [-0.1], [1.5], 0.5]),
    "evidence.interval": [lambda: evidence.interval(None)],
    "exercises.Exercise": [lambda: exercises.Exercise(1)],
    "exercises.check": each(lambda number: exercises.check(number, 1), [None, 1, "01.99", "99.1", ""]),
    "exercises.exercise": each(exercises.exercise, [None, 1, "01.99", "99.1", ""]),
    "evidence.lost": [lambda: evidence.lost(None)],
    "evidence.case_table": [lambda: evidence.case_table(None)],
    "evidence.verdict_table": [lambda: evidence.verdict_table(None)],
    "evidence.conclusions": [lambda: evidence.conclusions(None, None, None)],
    "exchange.ExchangeError": [],
    "exchange.ExchangeWarning": [],
    "exchange.Integrator": [lambda: exchange.Integrator(tau="x"), lambda: exchange.Integrator(tau=-1.0)],
    "exchange.OnImages": [lambda: exchange.OnImages()],
    "exchange.export": [
        lambda: exchange.export(plain, "net.txt"),
        lambda: exchange.export(None, "net.nir"),
        lambda: exchange.export(nn.Conv2d(1, 1, 1), "net.nir"),
    ],
    "exchange.from_nir": each(exchange.from_nir, [None, "text", 3, {}]),
    "exchange.from_spikingjelly": each(exchange.from_spikingjelly, [None, "/nonexistent", {}, {"fc1.weight": 1}]),
    "exchange.read_nir": each(exchange.read_nir, ["/nonexistent", "/", None]),
    "exchange.to_nir": each(exchange.to_nir, [None, "plain", network.PlainNet]),
    "exchange.to_onnx": each(exchange.to_onnx, [None, "plain", network.PlainNet]),
    "exchange.to_program": each(exchange.to_program, [None, "plain", network.PlainNet]),
    "exchange.to_spikingjelly": each(exchange.to_spikingjelly, [None, "plain", network.PlainNet, nn.Linear(1, 1)]),
    "exchange.write_nir": [lambda: exchange.write_nir("/tmp", None)],
    "files.InUseError": [],
    "files.WriteError": [],
    "files.hold": [lambda: files.hold(None).__enter__()],
    "files.naming": [lambda: files.naming()],
    "files.remove_leftovers": [lambda: files.remove_leftovers(None)],
    "files.sha256": each(files.sha256, ["text", None, 3]),
    "files.atomic_write": [lambda: files.atomic_write(None).__enter__()],
    "files.write_json": [lambda: files.write_json("/nonexistent/never", float("nan"))],
    "output.refuse_run": [lambda: output.refuse_run()],
    "stopping.Stop": [lambda: stopping.Stop(1)],
    "output.OutputFolder": [lambda: output.OutputFolder("x")],
    "pretrained.PretrainedError": [],
    "pretrained.card_digest": [lambda: pretrained.card_digest({"set": {1}})],
    "pretrained.load": [*each(pretrained.load, ["gru", None, 3, ""]), lambda: pretrained.load("plain", "/nonexistent")],
    "provenance.provenance": [lambda: provenance.provenance(1)],
    "sources.DataError": [],
    "sources.IdxFile": [lambda: sources.IdxFile()],
    "sources.Found": [lambda: sources.Found()],
    "sources.cache_dir": [lambda: sources.cache_dir(1)],
    "sources.load_idx": [lambda: sources.load_idx("/nonexistent", sources.FULL["test"][0], "fix")],
    "sources.find": [lambda: sources.find("/nonexistent", "test", "auto", False, False)],
    "trainer.Trainer": named(
        trainer.Trainer, "start_epoch", ["1", None, -1, 64, 10**30, 1.5], config.TrainingConfig()
    ),
    "evaluation.evaluate": [lambda: evaluation.evaluate()],
    "evaluation.predict": [lambda: evaluation.predict()],
    "training.fit": [
        lambda: training.fit(config.TrainingConfig(), None, None, tensorboard=True),
    ],
    "evaluation.rate_loss": [lambda: evaluation.rate_loss(None, torch.tensor([0]))],
    "trainer.set_seed": each(trainer.set_seed, ["x", -1, 2**64]),
    **{f"checks.{name}": [] for name in (
        "check_choice", "check_device", "check_flag", "check_floating", "check_module", "check_number", "check_place",
        "check_shape", "check_tensor", "check_whole",
    )},  # every other row calls them
}  # fmt: skip

#: Bare arithmetic, and names whose calls end with another documented exception.
OTHERS: dict[str, tuple[type[Exception], ...]] = {
    **dict.fromkeys(["cells.if_charge", "cells.lif_charge", "cells.reset"], TORCH_SAYS),
    "more.delays.delay_taps": (*TORCH_SAYS, ValueError),
    "cells.synapse_filter_step": TORCH_SAYS,
    **dict.fromkeys(["command.whole", "command.number", "command.choice"], (argparse.ArgumentTypeError,)),
    "exchange.from_spikingjelly": (TypeError, ValueError, OSError),
    "exchange.read_nir": (TypeError, ValueError, OSError),
    "surrogate.SurrogateFunction": (TypeError, ValueError, NotImplementedError),
}
#: Not for arguments of users: kernels' insides (test_torture_boundary.py), and views of the package's results.
#: The package exchange names what its modules hold for users.
ELSEWHERE = (
    "snn_core.fuse",
    "snn_core.kernels.",
    "snn_core.reference",
    "snn_core.runs",
    "snn_exchange.",
    "snn_tutorial.live",
    "snn_tutorial.page",
    "snn_tutorial.plot",
    "snn_tutorial.widgets",
    "sequential_fmnist.embedded",
)


def public_names() -> list[str]:
    """Return every public class and function of the package as "module.name"."""
    found = []
    modules = ["experiments.evidence"]
    for package in (sequential_fmnist, snn_core, snn_tutorial):
        modules += [info.name for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    for full_name in modules:
        if full_name.startswith(ELSEWHERE) or full_name.endswith("__main__"):
            continue
        module = importlib.import_module(full_name)
        own = [
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", None) == full_name
        ]
        for name in getattr(module, "__all__", own):
            value = getattr(module, name)
            if not inspect.isclass(value) and not inspect.isfunction(value):
                continue
            if value.__module__ == full_name or value.__module__.startswith(ELSEWHERE):
                found.append(f"{full_name.partition('.')[2]}.{name}")
    return sorted(found)


@pytest.mark.parametrize("name", public_names())
def test_every_public_name_has_a_row_of_bad_calls(name):
    assert name in CALLS


def refuse(name: str, at: int) -> None:
    """Make a call of the table, which must be refused with a line that says what is wrong."""
    source = f"{name}, call {at}"
    try:
        result = CALLS[name][at]()
    except OTHERS.get(name, (TypeError, ValueError)) as error:
        assert str(error).strip(), source
        assert len(str(error)) < 1000, f"{source}: {error}"
    except Exception as error:
        raise AssertionError(f"{source}: {error!r}") from error
    else:
        raise AssertionError(f"{source}: taken, gave {type(result).__name__}")


def test_bad_calls_are_refused(torture):
    calls = [(name, at) for name, row in CALLS.items() for at in range(len(row)) if name in public_names()]
    random.Random(5).shuffle(calls)
    calls = calls[: torture.count(fast=len(calls), full=len(calls))]
    for name, at in calls:
        refuse(name, at)
    torture.figure(
        item=5,
        what="bad calls of public classes and functions: a documented exception",
        calls=len(calls),
        public_names=len({name for name, _ in calls}),
        taken_in_silence=0,
    )


#: What nobody means as a number, a size, a flag or a name.
anything = st.one_of(
    st.none(),
    st.text(max_size=5),
    st.complex_numbers(),
    st.binary(max_size=3),
    st.lists(st.floats(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    st.sampled_from(
        [nn.Linear, print, ..., NotImplemented, np.array([1.0, 2.0]), torch.ones(2), float("nan")]
    ),
)
ARGUMENTS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    **{
        f"IFNode({name})": (neuron.IFNode, {name: None})
        for name in ("v_threshold", "detach_reset", "backend")
    },
    **{f"LIFNode({name})": (neuron.LIFNode, {name: None}) for name in ("tau", "decay_input", "store_v_seq")},
    "ATan(alpha)": (surrogate.ATan, {"alpha": None}),
    "make_network(hidden)": (
        partial_make := lambda hidden: network.make_network("plain", hidden),
        {"hidden": None},
    ),
    **{
        f"TrainingConfig({name})": (config.TrainingConfig, {name: None})
        for name in ("epochs", "lr", "seed", "momentum", "amp", "device")
    },
    **{
        f"NetworkSpec({name})": (network.NetworkSpec, {name: None})
        for name in ("kind", "alpha", "gain", "batch_norm")
    },
}


def test_anything_at_all_is_refused_where_it_has_no_meaning(torture):
    examples = torture.count(fast=150, full=5000)

    @seed(5)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(sorted(ARGUMENTS)), anything)
    def refused(name: str, value: object) -> None:
        function, arguments = ARGUMENTS[name]
        (argument,) = arguments
        meant = ("kind", "backend", "device")
        if (
            argument in meant
            and isinstance(value, str)
            and value in ("plain", "gru", "lstm", "auto", "torch", "cpu", "cuda")
        ):
            return
        with pytest.raises((TypeError, ValueError), match=argument):
            function(**{argument: value})

    refused()
    torture.figure(
        item=5, what="values of any type where a number, flag or name belongs", examples=examples, seed=5
    )


def test_a_taken_call_would_be_seen():
    with mock.patch.dict(CALLS, {"new": [lambda: 3, lambda: {}["missing"]]}):
        with pytest.raises(AssertionError, match="new, call 0: taken, gave int"):
            refuse("new", 0)
        with pytest.raises(AssertionError, match="new, call 1: KeyError"):
            refuse("new", 1)
