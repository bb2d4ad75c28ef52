from __future__ import annotations

import re


def test_solutions_are_right(run):
    (equal,) = re.findall(r"([\d.]+)% of the firing rates are equal", run.printed())
    assert float(equal) > 99


def test_prints_every_parameter(run):
    for line in (
        "plain: 1,258 parameters",
        "stateful-synapse: 1,259 parameters",
        "feedback: 3,338 parameters",
        "sn1.0.rc.weight  32 x 64  2,048",
    ):
        assert line in run.printed()


def test_a_step_lowers_the_loss(run):
    losses = [float(loss) for loss in re.findall(r"step \d: loss ([\d.]+)", run.printed())]
    assert losses == sorted(losses, reverse=True)


class TestWhatTheChapterSaysOfTheFullRun:
    def test_without_its_loop_the_network_answers_coat(self, full):
        cut = full["cut"]
        assert [round(100 * share, 1) for share in cut["right"].values()] == [84.8, 35.1, 81.5]
        assert max(cut["answers"]["loop cut"]) == cut["answers"]["loop cut"][4] > 4000
        assert max(cut["answers"]["with its loop"]) < 1100

    def test_output_rates_are_close_to_a_tenth_and_many_images_are_wrong(self, full):
        assert not full["is_subset"]
        rates = full["rates"]
        assert all(abs(rate["output"] - 0.1) < 0.015 for many in rates.values() for rate in many)
        most = max(rate["hidden"] for name in ("plain", "stateful-synapse") for rate in rates[name])
        assert min(rate["hidden"] for rate in rates["feedback"]) > most
        assert max(max(values) for values in full["test_accuracy"].values()) < 0.7

    def test_only_the_synapse_carries_the_image_through_a_blank(self, full):
        left = full["blank_half"]
        others = [share for name in ("plain", "feedback") for share in left[name]["blank"]]
        assert max(others) < 0.3 < min(left["stateful-synapse"]["blank"])

    def test_currents_are_needed_most(self, full):
        without = full["without"]
        for s in range(3):
            shares = {part: values[s] for part, values in without.items()}
            assert max(shares, key=shares.get) == "nothing"
        assert min(without, key=lambda part: sum(without[part])) == "currents"
