from __future__ import annotations

import json

import numpy as np
import torch

from experiments import results as module
from experiments.results import provenance


def test_says_versions_processor_and_threads():
    where = provenance()
    assert where["torch"] == torch.__version__
    assert where["torch_threads"] == torch.get_num_threads()
    assert where["processor"]
    assert json.loads(json.dumps(where)) == where


def test_a_package_that_is_missing_and_a_system_that_tells_no_processor(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "PACKAGES", ("numpy", "no-such-package"))
    monkeypatch.setattr(module, "Path", lambda name: tmp_path / name.lstrip("/"))
    where = provenance()
    assert where["numpy"] == np.__version__
    assert where["no-such-package"] is None
    assert where["processor"]
