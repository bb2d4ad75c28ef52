from __future__ import annotations

import base64
import io

import PIL.Image


def test_layout_and_reshape_are_as_printed(run):
    for line in (
        "(6, 28, 28) becomes (28, 6, 28)",
        "0.384 = 0.384",  # byte 98 of 255
        "same: True",
    ):
        assert line in run.printed()


def test_the_animation_shows_one_column_more_in_each_step(run):
    (data,) = (
        output["data"]["image/gif"]
        for cell in run.notebook.cells
        for output in cell.get("outputs", [])
        if "image/gif" in output.get("data", {})
    )
    with PIL.Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert picture.n_frames == 28


def test_solutions_are_right(run):
    assert "image and row: (2, 19)" in run.solved("03.2")
    rising = [float(line.split()[-1][:-1]) for line in run.solved("03.4").splitlines() if "test" in line]
    assert len(rising) == 4
    assert rising == sorted(rising)  # "the accuracy rises with each"
