from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path

import numpy as np
import pytest

import snn_tutorial.live
from sequential_fmnist.networks import make_network
from snn_exchange import to_nir
from snn_tutorial.live import deflated, floats, packed
from snn_tutorial.live.confusion import confused_images
from snn_tutorial.live.graph import graph_walker
from snn_tutorial.plot.style import QUANTITY, STYLE


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_arrays_are_packed_in_their_order(dtype):
    array = np.arange(256).reshape(4, 64).astype(dtype)
    assert base64.b64decode(packed(array)) == bytes(range(256))
    assert base64.b64decode(packed(array.T)) == array.T.astype(np.uint8).tobytes()
    assert zlib.decompress(base64.b64decode(deflated(array)), -zlib.MAX_WBITS) == bytes(range(256))
    assert base64.b64decode(floats(array.T)) == array.T.astype("<f4").tobytes()


@pytest.mark.parametrize("wrong", [[256], [-1], [0.5], [float("nan")]])
def test_nothing_but_bytes_is_packed(wrong):
    for write in (packed, deflated):
        with pytest.raises(ValueError, match="whole numbers from 0 to 255"):
            write(np.array(wrong))


def test_views_have_the_colours_of_the_figures():
    source = (Path(snn_tutorial.live.__file__).parent / "js" / "colors.js").read_text()
    light = dict(re.findall(r'^  (\w+): \["(#\w{6})", "#\w{6}"\],$', source, re.MULTILINE))
    assert light == QUANTITY | {name: STYLE[name]["color"] for name in ("gru", "lstm")}
    for name, memory in (("plain", "membrane"), ("stateful-synapse", "current"), ("feedback", "loop")):
        assert STYLE[name]["color"] == light[memory]


def test_each_confused_image_is_there_once_and_six_of_a_cell_at_most():
    images = np.arange(20, dtype=np.uint8)[:, None, None] * np.ones((1, 28, 28), np.uint8)
    labels = np.repeat([0, 1], 10)
    html = confused_images(images, labels, {"one": labels, "other": labels}, ("a", "b")).data
    shown = [*range(6), *range(10, 16)]
    assert f'"images": {json.dumps(deflated(images[shown]))}' in html
    assert f'"numbers": {shown}' in html
    assert '"first": [0, 0]' in html  # there is no error


def test_graph_of_ten_images_is_small_enough_for_a_page():
    sizes = {"input": 28, "fc1": 4, "sn1": 4, "fc2": 10, "sn2": 10, "output": 10}
    record = {name: np.zeros((28, 10, size)) for name, size in sizes.items()}
    html = graph_walker(to_nir(make_network("plain", hidden=4)), record, np.zeros((10, 28, 28))).data
    assert len(re.sub('src="[^"]*"', "", html)) < 300_000
