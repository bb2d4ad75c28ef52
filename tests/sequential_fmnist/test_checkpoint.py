from __future__ import annotations

import random
import zipfile

import numpy as np
import pytest
import torch

from sequential_fmnist.checkpoint import (
    CheckpointError,
    load_checkpoint,
    restore_rng,
    rng_state,
    save_checkpoint,
)

CONTENT = {"model": {"w": torch.arange(6.0).view(2, 3)}, "epoch": 3, "name": "plain", "none": None}


def test_round_trip(tmp_path):
    save_checkpoint(tmp_path / "c.pt", CONTENT)
    loaded = load_checkpoint(tmp_path / "c.pt")
    assert torch.equal(loaded["model"]["w"], CONTENT["model"]["w"])
    assert {k: loaded[k] for k in ("epoch", "name", "none")} == {"epoch": 3, "name": "plain", "none": None}


def test_file_is_an_ordinary_torch_file_with_the_digest_as_zip_comment(tmp_path):
    save_checkpoint(tmp_path / "c.pt", CONTENT)
    assert torch.load(tmp_path / "c.pt", weights_only=True)["epoch"] == 3
    with zipfile.ZipFile(tmp_path / "c.pt") as archive:
        assert len(archive.comment) == 64
        assert archive.testzip() is None


def test_every_flipped_bit_is_refused(tmp_path):
    save_checkpoint(tmp_path / "c.pt", CONTENT)
    data = (tmp_path / "c.pt").read_bytes()
    chosen = random.Random(0).sample(range(8 * len(data)), 200)
    for bit in [0, 8 * len(data) - 1, *chosen]:
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        (tmp_path / "damaged.pt").write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"damaged\.pt is damaged"):
            load_checkpoint(tmp_path / "damaged.pt")


@pytest.mark.parametrize("length", [0, 10, 63, 64, 65, 500])
def test_truncated_file_is_refused(tmp_path, length):
    save_checkpoint(tmp_path / "c.pt", CONTENT)
    (tmp_path / "c.pt").write_bytes((tmp_path / "c.pt").read_bytes()[:length])
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_checkpoint(tmp_path / "c.pt")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"absent\.pt does not exist"):
        load_checkpoint(tmp_path / "absent.pt")


class _Payload:
    def __reduce__(self):
        return (print, ("executed",))


def test_pickled_code_is_refused_and_not_executed(tmp_path, capsys):
    save_checkpoint(tmp_path / "c.pt", {"model": _Payload()})  # with a valid digest
    with pytest.raises(CheckpointError, match="nothing in it was executed"):
        load_checkpoint(tmp_path / "c.pt")
    assert "executed" not in capsys.readouterr().out


def test_failed_write_keeps_the_old_file(tmp_path):
    save_checkpoint(tmp_path / "c.pt", CONTENT)
    with pytest.raises(AttributeError, match=r"pickle|local object"):
        save_checkpoint(tmp_path / "c.pt", {"model": lambda: None})
    assert load_checkpoint(tmp_path / "c.pt")["epoch"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]


def test_random_numbers_go_on_where_they_were(tmp_path):
    save_checkpoint(tmp_path / "c.pt", {"rng": rng_state()})
    expected = torch.rand(3), np.random.rand(3), random.random()
    restore_rng(load_checkpoint(tmp_path / "c.pt")["rng"])
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1])
    assert random.random() == expected[2]
