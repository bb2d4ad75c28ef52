"""The game of chapter 03: the reader and the classifier are counted right after the same columns."""

from __future__ import annotations

import numpy as np
import pytest
from IPython.display import HTML
from support_live import live

from snn_tutorial.live.reading import guessing_game

pytestmark = pytest.mark.xdist_group("browser_live")

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 28, 28))


def game() -> HTML:
    return guessing_game(IMAGES, np.array([1, 0]), ("boot", "bag"), {5: [1, 1], 14: [0, 0]})


def shown(view) -> np.ndarray:
    return np.array(view.numbers()["shown"]).T * 255


def test_columns_come_in_rounds_and_both_are_counted(browser, tmp_path):
    with live(browser, game(), tmp_path) as view:
        press = lambda name: view.figure.get_by_role("button", name=name, exact=True).click()  # noqa: E731
        assert shown(view)[:, :5] == pytest.approx(IMAGES[0, :, :5])
        assert len({*shown(view)[:, 5:].flatten()}) == 1
        press("bag")
        assert shown(view)[:, :14] == pytest.approx(IMAGES[0, :, :14])
        press("boot")
        assert shown(view) == pytest.approx(IMAGES[0])
        assert view.said() == "It is: bag. You said bag, boot; the classifier bag, boot."
        press("next image")
        press("bag")
        press("boot")
        assert view.numbers()["scores"] == [{"yours": 1, "its": 1, "of": 2}, {"yours": 1, "its": 1, "of": 2}]
        press("next image")  # from the start
        assert view.numbers()["given"] == [[]]
