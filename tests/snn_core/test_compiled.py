"""Where compiled kernels are kept."""

from __future__ import annotations

import pytest

from snn_core.kernels.cpu import compiled as real


@pytest.fixture
def compiled(monkeypatch, tmp_path):
    """The module, with two sources in a folder of their own and no folder of numba's for its cache."""
    (tmp_path / "cpu").mkdir()
    for name in ("limits.py", "cpu/two.py"):
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(real, "_ENGINE", tmp_path)
    monkeypatch.setattr(real.numba.config, "CACHE_DIR", "")
    return real


def folders(tmp_path) -> list[str]:
    return sorted(str(path) for path in (tmp_path / "__pycache__").iterdir())


def test_each_state_of_the_sources_has_a_folder_and_an_old_one_goes(compiled, tmp_path):
    first = compiled._make_cache()
    assert folders(tmp_path) == [first]
    assert len(first.rpartition("kernels-")[2]) == 16
    (tmp_path / "__pycache__" / "one.pyc").write_text("kept")
    (tmp_path / "limits.py").write_text("changed")
    second = compiled._make_cache()
    assert second != first
    assert folders(tmp_path) == sorted([second, str(tmp_path / "__pycache__" / "one.pyc")])


def test_the_same_sources_keep_their_kernels(compiled, tmp_path):
    folder = compiled._make_cache()
    (tmp_path / "__pycache__" / folder / "kernel.nbi").write_text("compiled")
    assert compiled._make_cache() == folder
    assert (tmp_path / "__pycache__" / folder / "kernel.nbi").exists()
