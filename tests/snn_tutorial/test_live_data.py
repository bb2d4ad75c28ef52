from __future__ import annotations

import base64
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from torch import nn

import snn_tutorial.live
from sequential_fmnist.networks import PlainNet
from snn_core.neuron import MultiStepIFNode
from snn_tutorial.live import floats, packed
from snn_tutorial.live.javascript import CUTS, network_code, with_cut
from snn_tutorial.plot.style import QUANTITY, STYLE


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_arrays_are_packed_in_their_order(dtype):
    array = np.arange(256).reshape(4, 64).astype(dtype)
    assert base64.b64decode(packed(array)) == bytes(range(256))
    assert base64.b64decode(packed(array.T)) == array.T.astype(np.uint8).tobytes()
    assert zlib.decompress(base64.b64decode(packed(array, is_deflated=True)), -zlib.MAX_WBITS) == bytes(
        range(256)
    )
    assert base64.b64decode(floats(array.T)) == array.T.astype("<f4").tobytes()


@pytest.mark.parametrize("wrong", [[256], [-1], [0.5], [float("nan")]])
def test_nothing_but_bytes_is_packed(wrong):
    with pytest.raises(ValueError, match="whole numbers from 0 to 255"):
        packed(np.array(wrong))


def test_views_have_the_colours_of_the_figures():
    source = (Path(snn_tutorial.live.__file__).parent / "js" / "colors.js").read_text()
    found = re.findall(r'^  (\w+): \["(#\w{6})", "(#\w{6})"\],$', source, re.MULTILINE)
    light = {name: color for name, color, _ in found}
    assert light == QUANTITY
    for name, memory in (("plain", "membrane"), ("stateful-synapse", "current"), ("feedback", "loop")):
        assert STYLE[name]["color"] == light[memory]


def test_a_deeper_network_has_its_roles_by_place():
    net = PlainNet().double()
    net.fc3, net.sn3 = nn.Linear(10, 10).double(), MultiStepIFNode()
    for cut, expected in zip(CUTS, ([True] * 3, [True, True, False], [False] * 3), strict=True):
        with_cut(net, cut)
        assert [net.sn1.detach_reset, net.sn2.detach_reset, net.sn3.detach_reset] == expected
    code = network_code("deeper", net, {})
    assert code["hidden"] == 3  # sn2, counted from 0
    assert [len(stages) for stages in code["cuts"].values()] == [6, 6, 6]
