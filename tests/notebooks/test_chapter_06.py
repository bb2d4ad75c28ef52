from __future__ import annotations

import copy
import inspect
import json
import math

import numpy as np
import pytest
import torch
from support import ROOT
from support_notebooks import Run, committed, definitions, prose, quick_run

from sequential_fmnist.networks import NETWORKS
from snn_core.backend import cpu, rows
from snn_core.backend import scan as kernels
from snn_core.functional import explain
from snn_core.layer import MultiStepContainer
from snn_core.neuron import IFNode, LIFNode
from snn_core.surrogate import ATan, Sigmoid
from snn_tutorial.exercises.chapter_06 import EXERCISES
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
    names = (
        "ByHand",
        "InNumba",
        "SaturatingCell",
        "SaturatingNode",
        "backward_row",
        "forward_row",
        "row_function",
    )
    return definitions("06", *names)


@pytest.fixture(scope="module")
def recorded() -> dict:
    """What the committed page shows."""
    return json.loads((ROOT / "results" / "chapter_06.json").read_text())


@pytest.fixture(scope="module")
def text() -> str:
    return prose(committed("06"))


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


def test_counts_that_the_text_names(recorded, text):
    loop, fused = recorded["counts"]["torch"], recorded["counts"]["numba"]
    assert [found["T"] for found in loop] == [28, 112, 784]
    assert f"With T = 28 the loop calls {loop[0]['ops']} ops." in text
    assert f"to {loop[-1]['ops']:,} ops with T = 784." in text
    assert {(found["ops"], found["nodes"]) for found in fused} == {(12, 4)}
    assert "calls 12 ops and leaves 4 nodes for any T" in text
    assert [found["bytes_kept"] for found in fused[:2]] == [4, 4]
    assert 4 < fused[2]["bytes_kept"] < 4.05


def test_by_hand_is_exact_and_the_networks_differ_by_rounding(recorded, result, text):
    assert "All four differences are exactly 0" in text
    for found in (recorded["largest_differences"], result["largest_differences"]):
        exact = [value for name, value in found.items() if name.startswith(("by hand", "our numba"))]
        assert exact == [0] * 5
    others = [
        value
        for name, value in recorded["largest_differences"].items()
        if not name.startswith(("by hand", "our numba"))
    ]
    assert len(others) == 9
    assert min(others) > 0
    assert max(others) < 5.05e-15
    assert "None of them is exactly 0" in text
    assert "at most 5e-15" in text


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


def test_times_are_in_the_order_that_the_text_says(recorded, text):
    """Orders and rough ratios only, and those of the committed page: times of a short run would prove nothing."""
    ratios = recorded["times_as_fast_as_the_loop"]
    assert min(ratios["backward by hand"]) > 1.5
    assert sorted(ratios["backward by hand"])[1] < 3
    assert min(ratios["our numba scan"]) > 10
    assert all(
        ours < theirs
        for ours, theirs in zip(
            recorded["seconds"]["our numba scan"], recorded["seconds"]["fused scan"], strict=True
        )
    )
    assert "The short scan above is faster than the package's**, for each T." in text
    small, large = (
        times["torch loop"] / times["fused scan"]
        for times in (recorded["one_layer_seconds"][size] for size in ("small", "large"))
    )
    assert large < small / 2


def test_round_trips_are_what_the_text_says(recorded):
    fixed, steps = recorded["trips_milliseconds"], recorded["step_milliseconds"]
    first = steps["32"]["plain"]
    assert all(fixed[way] > 0.5 * first[way] for way in STEPS)  # "most of the time in each way"
    assert fixed["layer by layer"] < 0.5 * fixed["loop"]
    assert fixed["one kernel with loss"] < fixed["one scan"] < fixed["layer by layer"]
    per_sample = {way: first[way] - fixed[way] for way in STEPS}
    assert per_sample["one scan"] < per_sample["layer by layer"]
    for networks in steps.values():
        for ways in networks.values():
            assert sorted(ways.values(), reverse=True) == list(ways.values())
    for ways in recorded["whole_step_milliseconds"].values():
        assert ways["in one call"] < ways["step by step"] / 2


def test_computing_again_costs_a_forward_pass_and_keeps_little(recorded):
    for T, kept in zip(recorded["lengths"], recorded["kept_kib"]["fused scan"], strict=True):
        more = kept / (28 * T * 4 / 1024) - 1
        assert more == 0 if T < 784 else 0.005 < more < 0.015
    taken = recorded["recomputed_seconds"]
    saved = taken["one scan"] - taken["one kernel with loss"]
    assert 0.5 < saved / taken["forward pass alone"] < 2
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
    is_right, reply = EXERCISES["06.4"].reply(answer)
    assert is_right is (said == "right.")
    assert said in reply


def _fused(written, monkeypatch, power):
    """The neuron of section 9 with rows whose derivative is 1 / (1 + |x|) to a power."""
    name = f"saturating{power}"

    def forward(n, c, p, x, v, w, y, u):
        k, one = rows.fire_constants(c), c[0]
        for m in range(n):
            h = v[m] + x[m] / (one + abs(x[m]))
            w[m], y[m], u[m] = rows.fire_and_reset(h, k)

    def backward(n, c, p, x, v, y, d, g_y, g_v, g_x, g_p):
        k, one = rows.fire_constants(c), c[0]
        for m in range(n):
            damped = one + abs(x[m])
            g_v[m] = rows.through_spike(v[m] + x[m] / damped, y[m], d[m], g_y[m], g_v[m], k)
            g_x[m] = g_v[m]
            for _ in range(power):
                g_x[m] /= damped

    monkeypatch.setattr(rows, f"{name}_forward", forward, raising=False)
    monkeypatch.setattr(rows, f"{name}_backward", backward, raising=False)
    cell = type("FusedCell", (written["SaturatingCell"],), {"kernel": name})

    class FusedNode(IFNode):
        def cell(self, like):
            return cell(self.v_threshold, self.v_reset, self.surrogate_function, self.detach_reset)

    return FusedNode(surrogate_function=ATan())


@pytest.mark.parametrize(("power", "said"), [(0, "squared"), (1, "squared"), (2, "right.")])
def test_exercise_names_the_mistake_in_a_row(written, monkeypatch, power, said):
    assert said in EXERCISES["06.5"].reply(_fused(written, monkeypatch, power))[1]


def test_exercise_names_the_mistake_in_rows_of_ones_own(written):
    asked = EXERCISES["06.5"].reply
    assert "takes the loop" in asked(written["SaturatingNode"]())[1]
    assert "not those of the loop" in asked(IFNode(surrogate_function=ATan()))[1]
    assert "Hint" in asked(copy.deepcopy)[1]
