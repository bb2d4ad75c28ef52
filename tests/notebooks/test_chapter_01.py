from __future__ import annotations

import pytest
import torch
from support_notebooks import Run, chapter, definitions, prose, quick_run

from sequential_fmnist.networks import NETWORKS
from snn_core.functional import if_step
from snn_core.neuron import IFNode, SpikingNeuron
from snn_core.surrogate import Sigmoid
from snn_tutorial.exercises.chapter_01 import EXERCISES

pytestmark = pytest.mark.xdist_group("chapter_01")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return quick_run("01", tmp_path_factory.mktemp("chapter"))


@pytest.fixture(scope="module")
def result(run):
    return run.result("chapter_01.json")


def after(run: Run, start: str) -> str:
    """What the cell printed whose code starts with ``start``."""
    (cell,) = (cell for cell in run.notebook.cells if cell.source.startswith(start))
    return "".join(output["text"] for output in cell.outputs if output["output_type"] == "stream")


@pytest.mark.parametrize("v_reset", [None, 0.0, -0.5])
def test_neuron_by_hand_equals_the_package(v_reset):
    by_hand = definitions("01", "if_by_hand")["if_by_hand"]
    x, v = torch.rand(2, 500) * 2
    expected = if_step(
        x, v, v_threshold=1.25, v_reset=v_reset, surrogate_function=Sigmoid(), detach_reset=False
    )
    for mine, theirs in zip(by_hand(x, v, 1.25, v_reset), expected, strict=True):
        assert torch.equal(mine, theirs)


def test_module_agrees_with_the_lines_by_hand(run, result):
    assert result["differences_by_hand"] == 0
    assert "0 differences in 2000 steps" in run.printed()


def test_soft_reset_fires_once_more_and_loses_nothing(run, result):
    assert (result["spikes_hard"], result["spikes_soft"]) == (3, 4)
    printed = after(run, "for name, record in")
    assert "hard: input 4.75 = 3 spikes + 0.75 left in the membrane + 1.00 thrown away" in printed
    assert "soft: input 4.75 = 4 spikes + 0.75 left in the membrane + 0.00 thrown away" in printed


def test_leaky_membranes_follow_the_closed_form(run):
    lines = after(run, "t = torch.arange(15)").splitlines()
    assert [line.split()[1] for line in lines] == ["2", "5", "20"]
    assert all(float(line.split()[-1]) < 1e-6 for line in lines)


def test_demo_prints_what_the_tutorial_prints(run):
    lines = after(run, "T = 8").splitlines()
    assert lines[-8:] == [f"{t} x[t]={1.5 if t == 0 else 0.0}, s[t]=1.0" for t in range(8)]
    assert "v_threshold=1.0, v_reset=None, detach_reset=False" in "".join(lines)


def test_worked_table_is_what_the_neuron_does(run, result):
    """The rows of the table in the text, read from the text."""
    (text,) = (cell.source for cell in run.notebook.cells if cell.source.startswith("## 7"))
    rows = [row.strip("|").split("|") for row in text.splitlines() if row.startswith("|")][2:]
    kept = result["kept"]
    y, v = [0.0, *kept["s"]], [0.0, *kept["v"]]
    for t, row in enumerate(rows):
        recorded = [t, kept["x"][t], y[t], kept["i"][t], v[t], kept["h"][t], kept["s"][t], kept["v"][t]]
        assert [float(entry) for entry in row] == recorded
    assert len(rows) == 3


def test_hard_reset_goes_on_and_a_weak_input_never_starts(result):
    assert result["spikes"] == {"x[0] = 1.5, hard reset": [1.0] * 8, "x[0] = 0.9, soft reset": [0.0] * 8}


def test_reset_that_misses_the_feedback_fires_for_ever(run, result):
    assert result["reset_sees"] == {"all of h": [1, 1, 0, 0, 0, 0], "v and x only": [1] * 6}
    container = "net = layer.ElementWiseRecurrentContainer(\n    neuron.IFNode(v_threshold=1.5)"
    assert after(run, container) == "[1, 1, 0, 0, 0, 0]\n"


def test_threshold_above_one_lets_the_loop_fade(result):
    assert result["fading_spikes"] == 8  # 3 - 0.25 t >= 1.25 for t = 0 to 7


def test_errors_are_the_real_ones(run):
    printed = run.printed()
    assert "ValueError: LinearRecurrentContainer: state y has shape [10, 8], input needs [3, 8]" in printed
    assert "batch 1: RuntimeError: Trying to backward through the graph a second time" in printed
    assert "batch 1: RuntimeError: one of the variables needed for gradient computation has been" in printed
    assert (
        "NotRecordedError: IFNode: v_seq was not recorded: build the neuron with store_v_seq=True" in printed
    )


def test_both_cures_work(run):
    printed = run.printed()
    assert [f"batch {b}: done, v is None, y is None" in printed for b in range(3)] == [True] * 3
    assert printed.count("4 steps: done, v is kept, (10, 8)") == 3


def test_detached_gradient_ends_at_the_border_and_nothing_else_changes(run, result):
    whole, pieces = (torch.tensor(g) for g in result["gradients"].values())
    assert (whole > 0).all()
    assert (pieces[:8] == 0).all()
    torch.testing.assert_close(pieces[8:], whole[8:])
    assert "equal outputs: True" in run.printed()


def test_v_is_recorded_inside_the_container(run):
    assert f"(8, 1) {[0.5] * 8}" in run.printed()


def test_dense_container_with_identities_is_one_to_one(run):
    printed = after(run, "dense.rc.weight")
    assert printed.startswith("equal spikes: True\n")
    assert "32 neurons: one-to-one 0 parameters, dense 2,080 " in printed  # 64 x 32 + 32


def test_padded_samples_give_what_they_give_alone(run, result):
    lines = after(run, "for n, sample in enumerate(samples)").splitlines()
    assert len(lines) == 4
    assert all("last step equal True, rate equal True" in line for line in lines)
    own, padded = zip(
        *((float(line.split()[-6].strip(",")), float(line.split()[-1])) for line in lines), strict=True
    )
    assert own[0] == padded[0]  # the longest sample has no padding
    assert all(a != b for a, b in zip(own[1:], padded[1:], strict=True))
    assert own == pytest.approx([sum(rate) / 4 for rate in result["rates"]], abs=0.005)


def test_default_and_the_networks_have_the_hard_reset(run):
    assert "The default is the hard reset, `v_reset=0.0`; the three networks of chapters 04 and 05" in prose(
        run.notebook
    )
    neurons = [m for net in NETWORKS.values() for m in net().modules() if isinstance(m, SpikingNeuron)]
    assert len(neurons) == 6
    assert {IFNode().v_reset, *(node.v_reset for node in neurons)} == {0.0}


def test_first_neuron_fires_where_the_text_says(run):
    assert "It fires in steps 1, 4 and 5." in prose(run.notebook)
    lines = after(run, "x = torch.tensor([0.5, 0.75").splitlines()
    assert [t for t, line in enumerate(lines) if "s=1" in line] == [1, 4, 5]


def test_leaky_neurons_stay_silent_where_one_without_a_leak_fires_in_the_second_step(run):
    for tau in (2.0, 5.0, 20.0):
        v = 0.0
        for _ in range(15):
            v += (0.8 - v) / tau
            assert v < 0.8
    assert 0.8 < 1 <= 2 * 0.8  # without a leak
    assert "None of the three ever fires" in prose(run.notebook)


def test_chapter_03_trains_nothing_and_so_has_no_batches_to_reset(run):
    assert "the one in chapters 04 and 05" in prose(run.notebook)
    assert "reset_net" not in chapter("03").read_text()


def test_mean_over_the_padding_differs_for_every_padded_sample(run, result):
    assert "a mean over the padding too is different for every padded sample" in prose(run.notebook)


def test_solutions_find_what_they_say(run):
    inhibited, formula, leak = (
        "".join(line for line in run.solved(number).splitlines(keepends=True) if "Exercise" not in line)
        for number in ("01.3", "01.4", "01.5")
    )
    without, with_it = (eval(line.split(maxsplit=1)[1]) for line in inhibited.splitlines())
    assert (sum(without), sum(with_it)) == (9, 5)  # 9 units: 9 spikes, or 5 of which 4 have come back
    pairs = [line.split()[2:] for line in formula.splitlines()]
    assert [(pair[0], pair[-1]) for pair in pairs] == [(n, n) for n in ("8", "2", "4", "0")]
    assert leak.splitlines() == [
        f"x[0]=1.5: {[0] * 8}, the same from snn_core: True",
        f"x[0]=4.0: {[1, 1] + [0] * 6}, the same from snn_core: True",
    ]


def test_solutions_are_right(run):
    numbers = [number for number in EXERCISES if f"Exercise {number}: right." in run.solved(number)]
    assert numbers == list(EXERCISES)
    assert "100 spikes in 100 steps" in run.solved("01.6")
