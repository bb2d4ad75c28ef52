from __future__ import annotations

import inspect
import math

import nbformat
import numpy as np
import pytest
import torch
from support_notebooks import Run, chapter, definitions, quick_run

from sequential_fmnist.networks import NETWORKS
from snn_core.backend import cpu, rows
from snn_core.backend import scan as kernels
from snn_core.functional import explain
from snn_core.layer import MultiStepContainer
from snn_core.neuron import IFNode, LIFNode
from snn_core.surrogate import ATan, Sigmoid
from snn_tutorial.plot.kernels import STEPS, WAYS

pytestmark = pytest.mark.xdist_group("chapter_06")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return quick_run("06", tmp_path_factory.mktemp("chapter"))


@pytest.fixture(scope="module")
def result(run) -> dict:
    return run.result("chapter_06.json")


@pytest.fixture(scope="module")
def written() -> dict:
    names = ("ByHand", "InNumba", "SaturatingNode", "backward_row", "forward_row", "row_function")
    return definitions("06", *names)


@pytest.fixture(scope="module")
def text() -> str:
    cells = nbformat.read(chapter("06"), as_version=4).cells
    return " ".join(" ".join(c.source for c in cells if c.cell_type == "markdown").split())


def test_counts_of_the_loop_grow_with_t_and_those_of_the_fused_scan_do_not(result):
    loop, fused = result["counts"]["torch"], result["counts"]["numba"]
    # Five nodes for each step, as the text says; one for the input, one that splits and one that stacks; and the
    # reset of the last step, two nodes, reaches no output.
    assert [found["nodes"] for found in loop] == [5 * found["T"] - 2 + 3 for found in loop]
    assert loop[1]["ops"] - loop[0]["ops"] == pytest.approx(18 * (loop[1]["T"] - loop[0]["T"]), rel=0.2)
    assert fused[0]["nodes"] == fused[1]["nodes"] < 6
    assert fused[0]["ops"] == fused[1]["ops"] < 20


def test_loop_keeps_two_numbers_and_the_fused_scan_its_input(result):
    kept = {
        backend: {found["bytes_kept"] for found in counts} for backend, counts in result["counts"].items()
    }
    assert kept == {"torch": {8.0}, "numba": {4.0}}


def test_every_way_gives_the_loop_s_numbers(result):
    by_hand = [f"by hand, {r} reset, {d}detached" for r in ("hard", "soft") for d in ("", "not ")]
    steps = [f"{name}, {way}" for name in NETWORKS for way in STEPS if way != "loop"]
    assert result["largest_differences"].keys() == {*by_hand, "our numba scan", *steps}
    assert max(result["largest_differences"].values()) < 1e-12
    assert result["rows_equal"] == {"spikes": True, "states": True, "derivatives": True}
    assert result["same_output"] is True
    assert result["same_bits"] is True
    assert result["stages_in_plan"] == 4


def test_says_so_on_the_page(run):
    printed = run.printed()
    assert printed.count("spikes equal: True") == 7
    assert "equal: False" not in printed
    assert "4 stages in one plan; same output: True" in printed
    assert "the same bits with 1, 2 and 3 threads: True" in printed


def test_times_were_recorded(result):
    assert result["lengths"] == [28, 56]
    assert tuple(result["seconds"]) == tuple(WAYS)
    assert result["core_share"] > 0
    for seconds in result["seconds"].values():
        assert len(seconds) == 2
        assert min(seconds) > 0
    assert list(result["step_milliseconds"]) == ["32", "256"]
    for networks in result["step_milliseconds"].values():
        assert networks.keys() == NETWORKS.keys()
        for ways in networks.values():
            assert ways.keys() == STEPS.keys()
            assert min(ways.values()) > 0


def test_ratios_are_those_of_the_times(result):
    loop = result["seconds"]["torch loop"]
    for name, ratios in result["times_as_fast_as_the_loop"].items():
        expected = [a / b for a, b in zip(loop, result["seconds"][name], strict=True)]
        assert ratios == pytest.approx(expected)


def test_time_of_trips_lies_on_the_line_through_both_batches(result):
    small, large = (result["step_milliseconds"][size]["plain"] for size in ("32", "256"))
    for way, fixed in result["trips_milliseconds"].items():
        assert (small[way] - fixed) / 32 == pytest.approx((large[way] - fixed) / 256)


def test_fused_scan_keeps_nothing_but_the_input(result):
    for T, loop, fused in zip(result["lengths"], *result["kept_kib"].values(), strict=True):
        assert fused == pytest.approx(28 * T * 4 / 1024)
        assert loop > 5 * fused


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
def test_numba_scan_equals_the_package(written, dtype, rtol):
    x_seq = torch.rand(9, 3, 5, dtype=dtype).requires_grad_()
    node = IFNode(detach_reset=True, surrogate_function=ATan())
    runs = node.forward_sequence(x_seq), written["InNumba"].apply(x_seq)
    assert torch.equal(*runs)
    weight = torch.randn_like(x_seq)
    theirs, ours = (torch.autograd.grad((s * weight).sum(), x_seq)[0] for s in runs)
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=rtol)


@pytest.mark.parametrize(("name", "arrays"), [("forward_row", 4), ("backward_row", 5)])
def test_rows_compute_in_the_precision_of_their_arrays(written, name, arrays):
    function = written[name]
    function((np.float32(1),) * 5, *(np.ones(3, np.float32) for _ in range(arrays)))
    (code,) = (function.inspect_llvm(s) for s in function.signatures if "float64" not in str(s))
    assert "fpext" not in code  # the instruction that widens a number


def test_row_function_is_the_code_that_kernels_call(written):
    u = np.linspace(-2, 2, 9, dtype=np.float32)
    slope = u.copy()
    written["row_function"]("atan_derivative", 2)(
        9, np.float32([1, 0, *[0] * 6, *ATan().kernel_constants()]), slope
    )
    torch.testing.assert_close(torch.tensor(slope), ATan().derivative(torch.tensor(u)))


def test_shows_the_source_that_runs(run):
    shown = "\n".join(
        output["data"]["text/plain"]
        for cell in run.notebook.cells
        for output in cell.get("outputs", [])
        if "text/plain" in output.get("data", {})
    )
    for function in (rows.lif_forward, rows.lif_backward, rows.atan_derivative, kernels._forward):
        assert inspect.getsource(function).strip() in shown
    assert "item = add(address_of(a, COUNTER), 1)" in shown


def test_layers_called_one_by_one_have_a_scan_each_and_a_network_one(run):
    printed = run.printed()
    assert printed.count("fused, in scan 4\n") == 1
    assert "layers.3         MultiStepIFNode              fused, in scan 4\n" in printed
    assert "sn2              MultiStepIFNode              fused, in scan 1\n" in printed


def test_neuron_of_one_s_own_takes_the_loop(run, written):
    reason = "its cell is not one that kernels know"
    assert f"sn1              SaturatingNode               not fused: {reason}\n" in run.printed()
    node, x = written["SaturatingNode"](), torch.full((2, 1, 1), 1.5)
    (found,) = explain(MultiStepContainer(node), x)
    assert found.reason == reason
    assert node.forward_sequence(x).flatten().tolist() == [0, 1]  # h = 0.6, 1.2


def test_what_the_text_says_of_the_package_holds(text):
    assert cpu.COMPILING in text


def test_what_takes_the_loop_is_told_apart(run):
    printed = run.printed()
    assert "IFNode()             fused\n" in printed
    unknown = "its surrogate function is not one that kernels know"
    for what, reason in {
        "your own surrogate": unknown,
        "a smooth surrogate": unknown,
        "store_v_seq=True": "store_v_seq keeps v of every step",
        "a hook": "it has hooks, or a forward of its own",
    }.items():
        assert f"{what:20} {reason}\n" in printed


def test_solutions_find_what_they_say(run):
    printed = run.printed()
    difference = printed.rpartition("largest difference ")[2].split()[0]
    assert float(difference) < 1e-14
    assert "sn1              FusedNode                    fused, in scan 1\n" in printed
    assert "your rows: spikes equal: True, gradients equal: True\n" in printed
    assert "torch 12.0 bytes\nnumba 4.0 bytes\n" in printed
    assert "with dropout: 2 scans\n" in printed


def test_solution_1_is_that_of_a_neuron_that_fires(written):
    x_seq = torch.rand(28, 32, 32).mul(2)
    assert 0.05 < LIFNode(2.0).forward_sequence(x_seq).mean() < 0.95
