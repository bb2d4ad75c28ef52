from __future__ import annotations

import base64

import numpy as np
import pytest

from snn_tutorial.live import packed


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_packed_holds_the_bytes_in_their_order(dtype):
    array = np.arange(256).reshape(4, 64).astype(dtype)
    assert base64.b64decode(packed(array)) == bytes(range(256))
    assert base64.b64decode(packed(array.T)) == array.T.astype(np.uint8).tobytes()


@pytest.mark.parametrize("wrong", [[256], [-1], [0.5], [float("nan")]])
def test_packed_takes_nothing_but_bytes(wrong):
    with pytest.raises(ValueError, match="whole numbers from 0 to 255"):
        packed(np.array(wrong))
