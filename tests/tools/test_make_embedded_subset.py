"""tools/make_embedded_subset.py makes the files that the package holds, and no others."""

from __future__ import annotations

import gzip
import re
import zlib

import make_embedded_subset
import pytest
import torch

from sequential_fmnist.data import EMBEDDED_FOLDER


def test_the_script_makes_the_committed_files(full_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("SNN_CORE_CACHE", str(full_folder))
    make_embedded_subset.main(["--out", str(tmp_path / "out")])
    made, committed = (
        {path.name: path.read_bytes() for path in folder.glob("*.gz")}
        for folder in (tmp_path / "out", EMBEDDED_FOLDER)
    )
    # Another implementation of zlib packs the same bytes differently.
    if not re.fullmatch(r"[\d.]+", zlib.ZLIB_RUNTIME_VERSION):
        made, committed = ({n: gzip.decompress(x) for n, x in files.items()} for files in (made, committed))
    assert made.keys() == committed.keys()
    assert all(made[name] == committed[name] for name in made)


def test_the_script_refuses_to_write_another_subset(tmp_path):
    with pytest.raises(ValueError, match="expected SHA-256"):
        make_embedded_subset.save(tmp_path, "t10k-labels-idx1-ubyte", torch.zeros(1000))
    assert list(tmp_path.glob("*.gz")) == []
