from __future__ import annotations

import json
import math

import nbformat
import numpy as np
import pytest
import torch
from support import ROOT
from support_notebooks import Run, chapter, definitions, quick_run

from snn_core.backend import cpu, cuda, walks
from snn_core.neuron import IFNode, LIFNode
from snn_core.surrogate import ATan, Sigmoid

pytestmark = pytest.mark.xdist_group("chapter_06")

WALKS = ("torch loop", "backward by hand", "our numba cell", "fused op")
OPS = ("neuron_sequence", "recurrent_neuron_sequence", "synapse_filter_sequence")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return quick_run("06", tmp_path_factory.mktemp("chapter"))


@pytest.fixture(scope="module")
def result(run) -> dict:
    return run.result("chapter_06.json")


@pytest.fixture(scope="module")
def written() -> dict:
    return definitions("06", "ByHand", "InNumba", "walk_forward", "walk_backward")


@pytest.fixture(scope="module")
def text() -> str:
    cells = nbformat.read(chapter("06"), as_version=4).cells
    return " ".join(" ".join(c.source for c in cells if c.cell_type == "markdown").split())


def test_counts_of_the_loop_grow_with_t_and_those_of_the_fused_op_do_not(result):
    loop, fused = result["counts"]["torch"], result["counts"]["numba"]
    # Five nodes for each step, as the text says; one for the input, one that splits and one that stacks; and the
    # reset of the last step, two nodes, reaches no output.
    assert [found["nodes"] for found in loop] == [5 * found["T"] - 2 + 3 for found in loop]
    assert loop[1]["ops"] - loop[0]["ops"] == pytest.approx(18 * (loop[1]["T"] - loop[0]["T"]), rel=0.2)
    assert [found["nodes"] for found in fused] == [2, 2]  # the op and the input
    assert fused[0]["ops"] == fused[1]["ops"] < 10


def test_loop_keeps_two_numbers_and_the_fused_op_one(result):
    kept = {
        backend: {found["bytes_kept"] for found in counts} for backend, counts in result["counts"].items()
    }
    assert kept == {"torch": {8.0}, "numba": {4.0}}


def test_every_way_gives_the_loop_s_numbers(result):
    by_hand = [f"by hand, {r} reset, {d}detached" for r in ("hard", "soft") for d in ("", "not ")]
    assert result["largest_differences"].keys() == {*by_hand, "our numba cell", *OPS}
    assert max(result["largest_differences"].values()) < 1e-12
    assert result["same_bits"] is True


def test_says_so_on_the_page(run):
    printed = run.printed()
    assert printed.count("spikes equal: True") == 5
    assert "spikes equal: False" not in printed
    assert "the same bits with 1 and 2 threads: True" in printed


def test_times_were_recorded(result):
    assert result["lengths"] == [28, 56]
    assert tuple(result["seconds"]) == WALKS
    assert result["core_share"] > 0
    for seconds in result["seconds"].values():
        assert len(seconds) == 2
        assert min(seconds) > 0
    for parts in result["training_step"].values():
        assert min(parts.values()) > 0
    walks_of_each_size = result["recurrent_walk"]["quiet"] + result["recurrent_walk"]["busy"]
    assert len(walks_of_each_size) == 2 * len(result["recurrent_walk"]["hidden"])
    assert min(walks_of_each_size) > 0


def test_ratios_are_those_of_the_times(result):
    loop = result["seconds"]["torch loop"]
    for name, ratios in result["times_as_fast_as_the_loop"].items():
        expected = [a / b for a, b in zip(loop, result["seconds"][name], strict=True)]
        assert ratios == pytest.approx(expected)


def test_backward_by_hand_on_three_steps_worked_out_on_paper(written):
    # h = 0.6, 1.2, 0.6 and s = 0, 1, 0. ATan with alpha 2: g'(u) = 1 / (1 + (pi u)^2). The loss is the sum of spikes.
    far, near = 1 / (1 + (0.4 * math.pi) ** 2), 1 / (1 + (0.2 * math.pi) ** 2)
    x_seq = torch.full((3, 1), 0.6, dtype=torch.float64, requires_grad=True)
    for detach, first_two in (
        (True, [far + near, near]),  # the reset in step 1 lets nothing pass from step 2
        (False, [far + (1 - 0.6 * far) * (near - 1.2 * near * far), near - 1.2 * near * far]),
    ):
        s_seq = written["ByHand"].apply(x_seq, 1.0, 0.0, detach, ATan())
        assert s_seq.flatten().tolist() == [0, 1, 0]
        (gradient,) = torch.autograd.grad(s_seq.sum(), x_seq)
        assert gradient.flatten().tolist() == pytest.approx([*first_two, far], rel=1e-12)


@pytest.mark.parametrize("v_reset", [0.0, -0.3, None])
@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("surrogate", [ATan(), Sigmoid()])
def test_backward_by_hand_equals_the_package(written, v_reset, detach, surrogate):
    x_seq = torch.rand(9, 3, 5, dtype=torch.float64).requires_grad_()
    node = IFNode(v_reset=v_reset, detach_reset=detach, surrogate_function=surrogate)
    node.v = torch.zeros(3, 5, dtype=torch.float64)
    runs = node.forward_sequence(x_seq), written["ByHand"].apply(x_seq, 1.0, v_reset, detach, surrogate)
    assert 0 < runs[0].mean() < 1
    assert torch.equal(*runs)
    weight = torch.randn_like(x_seq)
    theirs, ours = (torch.autograd.grad((s * weight).sum(), x_seq)[0] for s in runs)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_numba_cell_equals_the_package(written, dtype, rtol):
    x_seq = torch.rand(9, 3, 5, dtype=dtype).requires_grad_()
    node = IFNode(detach_reset=True, surrogate_function=ATan())
    runs = node.forward_sequence(x_seq), written["InNumba"].apply(x_seq)
    assert torch.equal(*runs)
    weight = torch.randn_like(x_seq)
    theirs, ours = (torch.autograd.grad((s * weight).sum(), x_seq)[0] for s in runs)
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=rtol)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("walk_forward", "rnnrr"), ("walk_backward", "rrnnnnnr")],
    ids=["forward", "backward"],
)
def test_numba_cells_compute_in_the_precision_of_their_arrays(written, name, arguments):
    function, kinds = written[name], {"r": np.ones((2, 3), np.float32), "n": np.float32(1)}
    function(*(kinds[kind] for kind in arguments))
    (code,) = (function.inspect_llvm(s) for s in function.signatures if "float64" not in str(s))
    assert "fpext" not in code  # the instruction that widens a number


def test_shows_the_source_that_runs(run):
    shown = "\n".join(
        output["data"].get("text/markdown", output["data"].get("text/plain", ""))
        for cell in run.notebook.cells
        for output in cell.get("outputs", [])
        if "data" in output
    )
    lines = set(shown.splitlines())
    for path, first, last in (
        (cuda.SOURCE, "step_back(", "LIF_DECAYING_INPUT ? decayed"),
        (cuda.SOURCE, "__launch_bounds__(COLUMNS) neuron_forward(", "store(v_last + m, v);"),
        (ROOT / "snn_core" / "backend" / "walks.py", "def neuron_forward(", "v_last[lo:hi] = v"),
    ):
        source = path.read_text()
        begin = source.index(first)
        part = source[begin : source.index(last, begin)].splitlines()[1:-1]
        assert len(part) > 5
        assert set(part) <= lines
    assert "| reset | `(c.one - c.keep * spike)" in shown


def test_what_the_text_says_of_the_package_holds(text):
    assert cpu.COMPILING in text
    assert f"a thread walks {walks.SAMPLES} samples" in text
    assert walks.COLUMNS >= 32 * 32  # the layer of this chapter is one block
    steps = json.loads((ROOT / "results" / "throughput.json").read_text())["steps"]
    rates = {
        (s["config"]["model"], s["config"]["hidden"]): s["libraries"]["snn_core"]["final_spikes_per_step"]
        for s in steps
        if (s["config"]["batch"], s["config"]["T"]) == (256, 28)
    }
    assert max(rates.values()) < 0.5
    for model in ("plain", "feedback"):  # the rarer the larger the layer
        assert rates[model, 32] > rates[model, 128] > rates[model, 512]


def test_table_of_launches_has_each_way_once(run):
    printed = run.printed()
    assert "H =  32, W_y of      4 KiB: recurrent_forward_warp, 128 blocks" in printed
    assert "H = 224, W_y of    196 KiB: recurrent_forward_on_chip" in printed
    assert "H = 256, W_y of    256 KiB: recurrent_forward_tiled" in printed


def test_what_takes_the_loop_is_told_apart(run):
    printed = run.printed()
    assert "IFNode()             fused\n" in printed
    for reason in ("your own surrogate", "a smooth surrogate", "store_v_seq=True"):
        assert f"{reason:20} the loop\n" in printed


def test_solutions_find_what_they_say(run):
    printed = run.printed()
    difference = printed.rpartition("largest difference ")[2].split()[0]
    assert float(difference) < 1e-14
    assert "equal: True" in printed.rpartition("neuron_by_neuron")[2]
    assert "torch 12.0 bytes\nnumba 4.0 bytes\n" in printed


def test_solution_1_is_that_of_a_neuron_that_fires(written):
    x_seq = torch.rand(28, 32, 32).mul(2)
    assert 0.05 < LIFNode(2.0).forward_sequence(x_seq).mean() < 0.95
