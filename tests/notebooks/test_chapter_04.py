from __future__ import annotations

import re


def test_solutions_are_right(run):
    (equal,) = re.findall(r"([\d.]+)% of the firing rates are equal", run.printed())
    assert float(equal) > 99


def test_the_listings_are_what_is_trained(run):
    """The listed classes are those of the package, and the chapter's own loop and ``fit`` train them."""
    printed = run.printed()
    assert printed.count("firing rates differ by 0\n") == 3
    for line in ("plain            1,258 parameters", "stateful-synapse 1,259", "feedback         3,338"):
        assert line in printed
    assert all(float(loss) < 0.09 for loss in re.findall(r"loss of the last batch ([\d.]+)", printed))


def test_the_true_gradient_is_zero_and_the_slope_by_hand_is_that_of_autograd(run):
    assert re.search(r"TrueDerivative +norm of the gradient 0\.0000", run.printed())
    slopes = re.findall(r"(?:cut|attached): +(-?[\d.]+), by hand (-?[\d.]+)", run.printed())
    assert len(slopes) == 2 and all(one == other for one, other in slopes)
