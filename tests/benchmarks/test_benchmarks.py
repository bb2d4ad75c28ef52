"""The benchmark compares the same computation: not how fast anything is, which only a quiet machine can tell."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import json
import re
import sysconfig
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support import require

from benchmarks import __main__ as benchmark
from benchmarks import driver, tables
from benchmarks.cases import BASE, LARGE, LIBRARIES, LOOP, MODELS, OURS, Layer, Network
from benchmarks.driver import Effort, Process, WorkerError
from benchmarks.torch_loop import OneLayer, Training
from sequential_fmnist.networks import make_network
from snn_tutorial.measure import saved_bytes

HERE = [name for name, library in LIBRARIES.items() if not library.environment and name != "products"]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with the inputs of a small run."""
    folder = tmp_path_factory.mktemp("place")
    benchmark.write_inputs(folder / "inputs.npz", [Network(model, batch=100) for model in MODELS])
    return folder


def training(place: Path, name: str, network: Network) -> Training:
    if name == "spikingjelly":
        require(importlib.util.find_spec("spikingjelly") is not None, "spikingjelly==2.0.0")
    module = importlib.import_module(f"benchmarks.peers.{LIBRARIES[name].module}")
    return module.network(LIBRARIES[name].variant, network, np.load(place / "inputs.npz"))


@pytest.mark.parametrize(
    ("name", "model"),
    # torch.compile takes long: by night it comes with inductor, below.
    [(name, model) for name in HERE for model in MODELS if name != "torch-compile"],
)
def test_every_library_trains_as_ours(name, model, place):
    network = Network(model, batch=100)
    losses, expected = (
        [each.steps(1) for _ in range(10)]
        for each in (training(place, name, network), training(place, OURS, network))
    )
    assert losses == pytest.approx(expected, rel=1e-3)  # in fp32 rounding moves some spikes
    assert losses[0] == pytest.approx(expected[0], rel=1e-6)
    assert losses[-1] < 0.995 * losses[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.compile itself
@pytest.mark.nightly
@pytest.mark.parametrize("model", MODELS)
def test_inductor_trains_as_ours(model, place):
    require(Path(sysconfig.get_paths()["include"], "Python.h").exists(), "Python's headers")
    both = (training(place, name, Network(model, batch=100)) for name in ("torch-compile", OURS))
    compiled, expected = ([each.steps(1) for _ in range(3)] for each in both)
    assert compiled == pytest.approx(expected, rel=1e-4)


def test_a_step_gives_the_gradients_of_one_step():
    layer = Layer("IF", T=2, N=3, H=4)
    timed = OneLayer(lambda H: torch.nn.Linear(H, H), layer)
    timed.steps(3)
    x, gradient = map(torch.from_numpy, layer.sequences())
    expected = torch.einsum("tni,tnj->ij", gradient, x)
    torch.testing.assert_close(timed.net.weight.grad, expected)
    torch.testing.assert_close(timed.x.grad, gradient @ timed.net.weight.detach())
    added_up = OneLayer(lambda H: torch.nn.Linear(H, H), replace(layer, name=LARGE))
    added_up.steps(2)
    assert added_up.x.grad is None
    torch.testing.assert_close(added_up.net.bias.grad, torch.full((4,), 6.0))


def test_a_large_scan_keeps_less_than_the_loop():
    images = torch.rand(1000, 1, 28, 28)
    scan, loop = (saved_bytes(make_network("feedback", backend=each), images) for each in ("auto", "torch"))
    assert scan - images.nbytes < 0.1 * loop


class Told:
    """A worker whose network gives what it is told."""

    def __init__(self, output: float, gradient: float) -> None:
        self.answer = {"output": output, "gradient": gradient}

    def ask(self, *_: object, **__: object) -> dict[str, float]:
        return self.answer


@pytest.mark.parametrize("theirs", [(0.5, 0.3), (0.4, 0.2), (float("nan"), 0.2)])
def test_a_library_that_computes_something_else_is_not_timed(theirs):
    workers = {OURS: Told(0.5, 0.2), "spikingjelly": Told(*theirs)}
    layer = Layer("LIF")
    for case in (BASE, layer):
        with pytest.raises(WorkerError, match=r"^spikingjelly: .*(output|gradient) is .*, and ours"):
            driver.build(workers, case, {})
    driver.build(workers, layer, {"spikingjelly": ["LIF"]})  # the page says what it computes
    if theirs == (0.5, 0.3):  # of Norse only the spikes are compared
        driver.build({OURS: Told(0.5, 0.2), "norse": Told(*theirs)}, BASE, {})


def test_a_dead_layer_is_not_timed():
    with pytest.raises(WorkerError, match=r"^snn_core: .*LIF.*output is 0"):
        driver.build({OURS: Told(0.0, 0.0)}, Layer("LIF"), {})


def test_a_worker_that_fails_or_dies_gives_one_clear_error(place, tmp_path):
    with Process(OURS, tmp_path, place) as worker:
        with pytest.raises(WorkerError, match=r"^snn_core: KeyError: .*no initial weights for fc1\.weight"):
            worker.ask("build", kind="Network", config={"model": "plain", "hidden": 31})
        assert "snn-core" in worker.ask("about")["versions"]  # it goes on
        worker._process.kill()
        with pytest.raises(WorkerError, match=r"^snn_core: the worker ended with exit code -9"):
            worker.ask("about")


def test_a_missing_environment_is_one_line_and_older_results_stay(tmp_path):
    out = tmp_path / "out.json"
    out.write_text("{}")
    with pytest.raises(SystemExit, match=r"^error: spyx: .*is missing: run `make bench`"):
        benchmark.main(["--quick", "--libraries", "spyx", "--envs", str(tmp_path), "--out", str(out)])
    assert out.read_text() == "{}"


@pytest.mark.nightly
def test_a_tiny_run_writes_results_whole_or_not_at_all(tmp_path, monkeypatch):
    require(importlib.util.find_spec("spikingjelly") is not None, "spikingjelly==2.0.0")
    layers = [Layer("IF", T=8, N=4, H=32), Layer(LARGE, T=8, N=4, H=32)]
    monkeypatch.setattr(benchmark, "QUICK", replace(benchmark.QUICK, networks=[BASE], layers=layers))
    out = tmp_path / "benchmarks.json"
    command = ["--quick", "--libraries", "spikingjelly", "--out", str(out)]
    assert benchmark.main(command) == 0
    results = json.loads(out.read_text())
    assert [each["busy"] for each in results["networks"]] == [False, True]
    for entry in results["networks"] + results["layers"]:
        assert list(entry["libraries"]) == [OURS, LOOP, "spikingjelly"]
        for each in entry["libraries"].values():
            assert 0 < each["ms"]["q1"] <= each["ms"]["median"] <= each["ms"]["q3"]
        assert entry["libraries"][OURS]["ratio"] == 1
    with pytest.raises(ValueError, match="quick run"):
        tables.tables(tmp_path)
    kept = json.dumps(results | {"quick": False})
    out.write_text(kept)
    for text in list(tables.tables(tmp_path).values())[1:]:
        assert re.search(r"\| +ours \(ms\) \| +torch loop \|", text)

    # An older file stays as it was where the new one cannot be written to its end.
    monkeypatch.setattr(benchmark, "measure", lambda *_, **__: results)
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("the disk is full")))
    with pytest.raises(SystemExit, match="the disk is full"):
        benchmark.main(command)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    assert out.read_text() == kept


def test_libraries_take_turns_until_their_time_is_up():
    count = itertools.count(1.0)
    turns = dict.fromkeys("ab", lambda: next(count))
    assert driver.rounds(turns, Effort(2)) == {"a": [1, 3], "b": [2, 4]}
    assert driver.rounds({"a": lambda: 5.0}, Effort(3, budget=1e-12)) == {"a": [5]}


def test_summary_and_ratio_by_hand():
    assert driver.summary([4.0, 1.0, 2.0, 3.0, 5.0]) == {"median": 3, "q1": 2, "q3": 4, "n": 5}
    assert driver.summary([7.0]) == {"median": 7, "q1": 7, "q3": 7, "n": 1}
    # Round by round 2, 3 and 10; the median of the times alone would say 3 / 1.
    assert driver.ratio([2.0, 3.0, 20.0], [1.0, 1.0, 2.0]) == 3
    assert driver.ratio([6.0], [2.0, 1.0, 1.0]) == 3  # sat out after the first round
