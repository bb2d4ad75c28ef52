from __future__ import annotations

import json

import torch

from snn_core.provenance import provenance


def test_says_versions_processor_and_threads():
    where = provenance()
    assert where["torch"] == torch.__version__
    assert where["torch_threads"] == torch.get_num_threads()
    assert where["processor"]
    assert json.loads(json.dumps(where)) == where
