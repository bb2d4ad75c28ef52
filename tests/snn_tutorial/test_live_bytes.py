from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest

from snn_tutorial.live import deflated, packed


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_arrays_are_packed_in_their_order(dtype):
    array = np.arange(256).reshape(4, 64).astype(dtype)
    assert base64.b64decode(packed(array)) == bytes(range(256))
    assert base64.b64decode(packed(array.T)) == array.T.astype(np.uint8).tobytes()
    assert zlib.decompress(base64.b64decode(deflated(array)), -zlib.MAX_WBITS) == bytes(range(256))


@pytest.mark.parametrize("wrong", [[256], [-1], [0.5], [float("nan")]])
def test_nothing_but_bytes_is_packed(wrong):
    with pytest.raises(ValueError, match="whole numbers from 0 to 255"):
        packed(np.array(wrong))
    with pytest.raises(ValueError, match="whole numbers from 0 to 255"):
        deflated(np.array(wrong))
