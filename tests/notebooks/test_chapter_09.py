from __future__ import annotations

import copy
import json
import math

import numpy as np
import pytest
import torch
from support import ROOT
from support_notebooks import Run, definitions, quick_run
from torch import nn

from snn_core import cells, functional, kernels
from snn_core.functional import explain
from snn_core.kernels.cpu import rows
from snn_core.kernels.cuda import launch as cuda
from snn_core.layer import MultiStepContainer
from snn_core.more.check_cell import check_cell
from snn_core.neuron import IFNode, LIFNode
from snn_core.surrogate import ATan, FastSigmoid, Sigmoid
from snn_tutorial.exercises.chapter_09 import EXERCISES
from snn_tutorial.plot.kernels import STEPS, WAYS

NETWORKS = ("plain", "stateful-synapse", "feedback")
pytestmark = pytest.mark.xdist_group("chapter_09")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return quick_run("09", tmp_path_factory.mktemp("chapter"))


@pytest.fixture(scope="module")
def result(run) -> dict:
    return run.result("chapter_09.json")


@pytest.fixture(scope="module")
def written() -> dict:
    names = ("ByHand", "InNumba", "SaturatingCell", "SaturatingNode", "machine_code", "row_of")
    return definitions("09", *names)


@pytest.fixture(scope="module")
def recorded() -> dict:
    """What the committed page shows."""
    return json.loads((ROOT / "results" / "chapter_09.json").read_text())


def test_counts_of_the_loop_grow_with_t_and_those_of_the_fused_scan_do_not(result):
    loop, fused = result["counts"]["torch"], result["counts"]["numba"]
    # Five nodes for each step, as the text says; one for the input, one that splits and one that stacks; and the
    # reset of the last step, two nodes, reaches no output.
    assert [found["nodes"] for found in loop] == [5 * found["T"] - 2 + 3 for found in loop]
    assert loop[1]["ops"] - loop[0]["ops"] == pytest.approx(18 * (loop[1]["T"] - loop[0]["T"]), rel=0.2)
    assert fused[0]["nodes"] == fused[1]["nodes"] < 6
    assert fused[0]["ops"] == fused[1]["ops"] < 20


def test_loop_keeps_two_numbers_and_the_fused_scan_all_or_its_input(result, recorded):
    for found in (*result["counts"]["torch"], *recorded["counts"]["torch"]):
        assert found["bytes_kept"] == 8
    for found in (*result["counts"]["numba"], *recorded["counts"]["numba"]):
        if found["T"] < 784:
            assert 16 < found["bytes_kept"] < 18
        else:
            assert found["bytes_kept"] == 4
    for T, loop, fused in zip(recorded["lengths"], *recorded["kept_kib"].values(), strict=True):
        assert fused == pytest.approx(loop if T < 784 else 28 * T * 4 / 1024, rel=0.1)


def test_every_way_gives_the_loop_s_numbers(result):
    by_hand = [f"by hand, {r} reset, {d}detached" for r in ("hard", "soft") for d in ("", "not ")]
    steps = [f"{name}, {way}" for name in NETWORKS for way in STEPS if way != "loop"]
    assert result["largest_differences"].keys() == {*by_hand, "our numba scan", *steps}
    assert max(result["largest_differences"].values()) < 1e-12
    exact = (*by_hand, "our numba scan")
    assert [result["largest_differences"][name] for name in exact] == [0] * 5
    assert result["rows_equal"] == {"spikes": True, "states": True, "gradients": True}
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
        assert tuple(networks) == NETWORKS
        for ways in networks.values():
            assert ways.keys() == STEPS.keys()
            assert min(ways.values()) > 0


def test_time_of_trips_lies_on_the_line_through_both_batches(result):
    small, large = (result["step_milliseconds"][size]["plain"] for size in ("32", "256"))
    for way, fixed in result["trips_milliseconds"].items():
        assert (small[way] - fixed) / 32 == pytest.approx((large[way] - fixed) / 256)


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


NODES = {
    "IF": lambda: IFNode(detach_reset=True, surrogate_function=ATan()),
    "LIF": lambda: LIFNode(2.0, v_reset=-0.2, surrogate_function=Sigmoid()),
    "soft": lambda: LIFNode(3.0, v_reset=None, surrogate_function=FastSigmoid()),
}


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("build", NODES.values(), ids=NODES)
def test_numba_scan_equals_the_package(written, dtype, rtol, build):
    x_seq = (2 * torch.rand(9, 3, 5, dtype=dtype)).requires_grad_()
    node = build()
    node.backend = "torch"
    runs = node.forward_sequence(x_seq), written["InNumba"].apply(x_seq, node.cell(x_seq[0]))
    assert 0 < runs[0].mean() < 1
    assert torch.equal(*runs)
    weight = torch.randn_like(x_seq)
    theirs, ours = (torch.autograd.grad((s * weight).sum(), x_seq)[0] for s in runs)
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_rows_compute_in_the_precision_of_their_arrays(written, direction):
    program, constants, _ = kernels.program(IFNode(surrogate_function=ATan()).cell(None))
    names = {"forward": ("y", "w0"), "backward": ("g_x", "g_v0")}[direction]
    reads = {"forward": ("x", "v0"), "backward": ("x", "v0", "g_y", "g_v0")}[direction]
    ends = program.outputs if direction == "forward" else program.gradients
    results = dict(zip(names, ends, strict=True))
    function = written["row_of"](reads, getattr(program, direction), results, program.constants)
    count = len({*reads, *results})
    function((np.float32(1),) * (2 + len(constants)), *(np.ones(3, np.float32) for _ in range(count)))
    (code,) = function.inspect_llvm().values()
    assert "fpext" not in code  # the instruction that widens a number
    assert "fdiv" in code or direction == "forward"


def test_machine_code_is_what_kernels_call(written):
    """The addresses are those in a kernel's table, and the code behind them has the surrogate's derivative."""
    program, constants, _ = kernels.program(IFNode(surrogate_function=ATan(), detach_reset=True).cell(None))
    forward, backward = written["machine_code"](program)
    u = np.linspace(-2, 2, 9, dtype=np.float32)
    y, w, g_x, none = (np.zeros(9, np.float32) for _ in range(4))
    c = np.float32([1, 0, *[0] * (rows.CONSTANTS - 2), *constants])
    x, v = u + 1, np.zeros(9, np.float32)
    forward(9, c, none, x, v, w, y)
    assert y.tolist() == [0] * 4 + [1] * 5
    assert w.tolist() == [*(u[:4] + 1), *[0] * 5]
    backward(9, c, none, x, v, np.ones(9, np.float32), np.zeros(9, np.float32), g_x, none)
    torch.testing.assert_close(torch.tensor(g_x), ATan().derivative(torch.tensor(u)))


def test_statements_mean_what_the_text_says(run):
    """Those of the CPU and of CUDA are printed from the package: ``r3``, ``r11``, ``r17`` and ``r20`` are explained."""
    node = IFNode(surrogate_function=ATan(), detach_reset=True)
    derived, program = functional.derived(node, torch.zeros(1, 1)), kernels.program(node.cell(None)).program
    assert derived in run.printed()
    statements = dict(line.split(" = ") for line in program.backward)
    assert statements["r3"] == "r2"
    assert statements["r2"].startswith("select(r1 >= zero, one, zero)")
    assert statements["r4"].endswith("- r3")
    assert statements["r11"] == "g_v0 * r4"
    assert statements["r18"] == "g_y * r17"
    assert statements["r20"] == "r11 + r18"
    assert program.gradients == ("r20", "r20")
    assert program.backward[:4] == program.forward[:4]
    printed = run.printed()
    for line in (
        cuda.cell_source(0, program).partition("__device__ static void backward")[0].splitlines()[4:-1]
    ):
        assert line in printed


def test_a_charge_that_saturates_is_differentiated_on_the_page(run):
    """d/dx of x / (1 + |x|) is 1 / (1 + |x|)^2; the statements are run for a few numbers."""
    printed = run.printed()
    text = printed[printed.index("r0 = fabs(x)") :]
    statements, _, end = text[text.index("\n\n") + 2 :].partition("\ng_x = ")
    for x in (-3.0, -0.5, 0.0, 2.0):
        known = {"x": x, "v0": 0.3, "g_h": 1.0, "c0": 1.0, "zero": 0.0, "fabs": abs}
        known["select"] = lambda condition, a, b: a if condition else b
        exec(statements, known)
        assert known[end.partition(",")[0]] == pytest.approx(1 / (1 + abs(x)) ** 2)
    assert end.startswith("r") and end.splitlines()[0].endswith("g_v = g_h")


def test_layers_called_one_by_one_have_a_scan_each_and_a_network_one(run):
    printed = run.printed()
    assert printed.count("fused, in scan 4\n") == 1
    assert "layers.3         IFNode                       fused, in scan 4\n" in printed
    assert "3                IFNode                       fused, in scan 1\n" in printed


def test_neuron_of_one_s_own_is_fused_and_equals_its_equation(run, written):
    printed = run.printed()
    assert "1                SaturatingNode               fused, in scan 1\n" in printed
    assert "SaturatingNode: single steps, loop and plan agree on a sequence [20, 3, 5]\n" in printed
    node, x = written["SaturatingNode"](), torch.full((2, 1, 1), 1.5)
    (found,) = explain(MultiStepContainer(node), x)
    assert found.fused
    assert node.forward_sequence(x).flatten().tolist() == [0, 1]  # h = 0.6, 1.2
    assert set(check_cell(node).runs.values()) == {"fused"}


def test_what_takes_the_loop_is_told_apart(run):
    printed = run.printed()
    assert "IFNode()             fused\n" in printed
    assert "a smooth surrogate   fused\n" in printed
    for what, reason in {
        "a bare function": "its surrogate_function is not one that kernels know",
        "a mean over neurons": "its element-wise function is not arithmetic on its arguments alone",
        "a hook": "it has hooks, or a forward of its own",
    }.items():
        assert f"{what:20} {reason}\n" in printed


def test_solutions_find_what_they_say(run):
    printed = run.printed()
    difference = printed.rpartition("largest difference ")[2].split()[0]
    assert float(difference) < 1e-14
    assert "QuarterNode: single steps, loop and plan agree on a sequence [20, 3, 5]\n" in printed
    assert all(
        run.solved(f"09.{number}").endswith(EXERCISES[f"09.{number}"].because + "\n")
        for number in range(1, 6)
    )
    assert "torch 12.0 bytes\nnumba 4.0 bytes\n" in printed
    assert "with dropout: 2 scans\n" in printed


def test_solution_1_is_that_of_a_neuron_that_fires(written):
    x_seq = torch.rand(28, 32, 32).mul(2)
    assert 0.05 < LIFNode(2.0).forward_sequence(x_seq).mean() < 0.95


def test_credit_is_what_the_text_says(written):
    """As in the figure: which inputs get a gradient from the last spike, and how it changes on its way."""
    torch.manual_seed(0)
    current = 0.5 * torch.rand(20, 1, dtype=torch.float64)
    found = {}
    for v_reset in (0.0, None):
        for detach in (True, False):
            x = current.clone().requires_grad_()
            s = written["ByHand"].apply(x, 1.0, v_reset, detach, ATan())
            (gradient,) = torch.autograd.grad(s[-1].sum(), x)
            found[v_reset, detach] = gradient[:, 0], s.flatten().nonzero().flatten().tolist()
    gradient, spikes = found[0.0, True]
    before = [t for t in spikes if t < 19][-1]
    assert gradient.nonzero().flatten().tolist() == list(range(before + 1, 20))
    gradient, _ = found[None, True]
    assert gradient[0] > 0
    torch.testing.assert_close(gradient, gradient[:1].expand(20), rtol=1e-12, atol=0)
    for v_reset, changes_sign in ((0.0, True), (None, False)):
        gradient, _ = found[v_reset, False]
        assert gradient[:5].abs().max() < 0.01 * gradient[-1]
        assert (gradient.min() < -0.01).item() is changes_sign


def test_times_are_in_the_order_that_the_text_says(recorded):
    """Orders and rough ratios only, and those of the committed page: times of a short run would prove nothing."""
    ratios, seconds = recorded["times_as_fast_as_the_loop"], recorded["seconds"]
    assert sorted(ratios["backward by hand"])[1] > 1.5
    assert min(ratios["our numba scan"]) > 8
    assert seconds["our numba scan"][0] < seconds["fused scan"][0]
    small, large = (
        times["torch loop"] / times["fused scan"]
        for times in (recorded["one_layer_seconds"][size] for size in ("small", "large"))
    )
    assert large < small
    for networks in recorded["step_milliseconds"].values():
        for ways in networks.values():
            assert sorted(ways.values(), reverse=True) == list(ways.values())
    fixed, first = recorded["trips_milliseconds"], recorded["step_milliseconds"]["32"]["plain"]
    for way in ("loop", "layer by layer", "one scan"):  # "most of the time of the first three ways"
        assert fixed[way] > 0.5 * first[way]
    assert first["one scan"] - fixed["one scan"] < first["layer by layer"] - fixed["layer by layer"]
    taken = recorded["recomputed_seconds"]
    assert taken["computed again"] - taken["kept"] < taken["forward pass alone"]
    assert recorded["different_sums"] > 1


def _backward_pass(to_x, to_v, resets=True, order=reversed):
    """A leaky neuron's backward pass as a learner may write it, from the derivatives of h to x and to v."""

    def backward(h, s, slope, g_s, tau):
        g_x, g_v = torch.empty_like(h), torch.zeros_like(h[0])
        for t in order(range(len(h))):
            g_h = g_s[t] * slope[t] + g_v * (1 - s[t] if resets else 1)
            g_x[t], g_v = to_x(tau) * g_h, to_v(tau) * g_h
        return g_x

    return backward


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (_backward_pass(lambda tau: 1 / tau, lambda tau: 1 - 1 / tau), "right."),
        (_backward_pass(lambda _: 1, lambda _: 1), "without a leak"),
        (_backward_pass(lambda _: 1, lambda tau: 1 - 1 / tau), "the input is divided by tau too"),
        (_backward_pass(lambda tau: 1 / tau, lambda _: 1), "only 1 - 1/tau is left"),
        (_backward_pass(lambda tau: 1 / tau, lambda tau: 1 / tau), "1/tau is what it loses"),
        (_backward_pass(lambda tau: 1 - 1 / tau, lambda tau: 1 / tau), "changed places"),
        (_backward_pass(lambda tau: tau, lambda tau: 1 - tau), "not tau"),
        (_backward_pass(lambda tau: 1 / tau, lambda tau: 1 - 1 / tau, resets=False), "factor 1 - s[t]"),
        (_backward_pass(lambda tau: 1 / tau, lambda tau: 1 - 1 / tau, order=iter), "begin with the last"),
        (lambda *_: None, "Hint"),
    ],
)
def test_exercise_names_the_mistake_in_a_backward_pass(answer, said):
    is_right, reply = EXERCISES["09.4"].reply(answer)
    assert is_right is (said == "right.")
    assert said in reply


def _neuron(charge):
    """A node of a cell with this charge."""

    class Node(IFNode):
        def cell(self, like):
            kind = type("Own", (cells.IF,), {"charge": lambda self, x, v: charge(x, v)})
            return kind(self.v_threshold, self.v_reset, self.surrogate_function, self.detach_reset)

    return Node(surrogate_function=ATan())


def _in_place(x, v):
    x[x < 0] /= 4
    return v + x


@pytest.mark.parametrize(
    ("charge", "said"),
    [
        (lambda x, v: v + torch.where(x >= 0, x, x / 4), "right."),
        (lambda x, v: v + torch.maximum(x, x / 4), "right."),
        (lambda x, v: v + x.relu() - (-x).relu() / 4, "right."),
        (_in_place, "Hint"),  # torch refuses it
        (lambda x, v: v + nn.functional.leaky_relu(x, 0.25), "takes the loop"),
        (lambda x, v: v + torch.where(x >= 0, x, x.detach() / 4), "not the gradient"),
        (lambda x, v: v.detach() + torch.maximum(x, x / 4), "not the gradient"),
        (lambda x, v: v + torch.where(x >= 0, x / 4, x), "not those of the equation"),
        (lambda x, v: v + x, "not those of the equation"),
        (lambda x, v: v + x.sort().values, "not those of the equation"),
    ],
)
def test_exercise_names_the_mistake_in_a_neuron_of_ones_own(charge, said):
    is_right, reply = EXERCISES["09.5"].reply(_neuron(charge))
    assert is_right is (said == "right.")
    assert said in reply


def test_exercise_takes_only_a_node_of_ones_own(written):
    asked = EXERCISES["09.5"].reply
    for other in (written["SaturatingNode"](surrogate_function=ATan()), IFNode(surrogate_function=ATan())):
        assert "not those of the equation" in asked(other)[1]
    assert "Hint" in asked(copy.deepcopy)[1]
