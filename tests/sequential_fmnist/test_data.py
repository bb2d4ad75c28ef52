"""Where the images come from, what is said of damaged ones, and how they become batches."""

from __future__ import annotations

import gzip
import shutil
from types import SimpleNamespace
from urllib.error import URLError

import pytest
import torch
from support_data import IMAGES, LABELS, offline, write

from sequential_fmnist import data
from sequential_fmnist.data import DataError, SequentialFashionMNIST, batches, cache_dir, prepared


def quiet(*arguments, **options) -> SequentialFashionMNIST:
    return SequentialFashionMNIST(*arguments, verbose=False, **options)


def assert_is_tiny(dataset: SequentialFashionMNIST, train: bool = True) -> None:
    assert torch.equal(dataset.images[:, 0], torch.as_tensor(IMAGES[train]).to(torch.uint8))
    assert dataset.labels.tolist() == LABELS[train].tolist()
    assert not dataset.is_subset


@pytest.mark.parametrize("train", [True, False])
def test_full_data_in_torchvisions_layout_from_a_folder_and_from_the_cache(tiny, tmp_path, train, capsys):
    write(tmp_path)
    dataset = SequentialFashionMNIST(tmp_path, train=train)
    assert_is_tiny(dataset, train)
    assert f"{len(dataset)} images from the folder {tmp_path}\n" in capsys.readouterr().out
    write(cache_dir())
    dataset = quiet(train=train)
    assert_is_tiny(dataset, train)
    assert dataset.source == f"the cache ({cache_dir()})"


def test_home_is_not_named(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "mine")
    assert quiet("~/mine").source == "the folder ~/mine"


def test_cache_copies_what_a_folder_holds(tiny, tmp_path):
    write(tmp_path)
    quiet(tmp_path, cache=True)
    shutil.rmtree(tmp_path / "FashionMNIST")
    assert_is_tiny(quiet())


def test_download_goes_to_the_cache(tiny, tmp_path, monkeypatch):
    files = iter(data.FULL)

    def download(url, download_root, filename, md5):
        name = next(files)
        assert filename == f"{name}.gz"
        shutil.copy(source / name, download_root)

    source = write(tmp_path / "mirror")
    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", download)
    assert_is_tiny(quiet(source="full"))
    offline(monkeypatch)
    assert_is_tiny(quiet(train=False), train=False)


def test_without_a_network_the_subset_takes_its_place_and_says_so(tiny, capsys):
    train, test = SequentialFashionMNIST(), SequentialFashionMNIST(train=False)
    assert train.is_subset and test.is_subset
    assert (len(train), len(test)) == (6000, 1000)
    assert "6,000 of 60,000 training images (a real subset); accuracies are not" in capsys.readouterr().out
    with pytest.raises(
        DataError, match=r"cannot be fetched: .*no network in this test.*Run `make data`"
    ) as caught:
        quiet(source="full")
    assert "\n" not in str(caught.value)


def test_a_download_that_breaks_off_is_tried_again(tiny, tmp_path, monkeypatch):
    def partly(url, download_root, filename, md5):
        if "labels" in filename:
            raise URLError("gone")
        shutil.copy(source / filename.removesuffix(".gz"), download_root)

    source = write(tmp_path / "mirror")
    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", partly)
    assert quiet().is_subset
    shutil.copytree(source, cache_dir() / data.RAW, dirs_exist_ok=True)
    assert_is_tiny(quiet())


@pytest.mark.parametrize("how", ["cut off", "flipped", "missing", "a folder"])
@pytest.mark.parametrize("where", ["folder", "cache"])
def test_damaged_files_are_named_with_the_fix(tiny, tmp_path, how, where):
    root = tmp_path if where == "folder" else cache_dir()
    path = write(root) / "t10k-images-idx3-ubyte"
    content = path.read_bytes()
    path.unlink()
    if how == "a folder":
        path.mkdir()
    elif how != "missing":
        flipped = content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]
        path.write_bytes({"cut off": content[:-1], "flipped": flipped}[how])
    fix = r"data_path must be a folder in torchvision's layout" if where == "folder" else "Delete .*make data"
    if how == "missing" and where == "cache":
        fix = "cannot be fetched"
    with pytest.raises(DataError, match=rf"(?s)(t10k-images-idx3-ubyte|Fashion-MNIST).*{fix}"):
        quiet(root if where == "folder" else None, train=False, source="full")
    if where == "folder":
        assert_is_tiny(quiet(root))  # the other split is whole


def test_an_archive_that_never_ends_fills_no_memory(tmp_path):
    with gzip.open(tmp_path / "name-idx3.gz", "wb", compresslevel=1) as file:
        for _ in range(100):
            file.write(bytes(1 << 20))
    with pytest.raises(DataError, match="is damaged: expected SHA-256"):
        data._read(tmp_path, "name-idx3", "0" * 64, "")


def test_embedded_subset_is_verified(monkeypatch, embedded):
    train, _ = embedded
    assert torch.bincount(train.labels).tolist() == [600] * 10
    assert train.images.shape == (6000, 1, 28, 28)
    monkeypatch.setattr(data, "SUBSET", dict.fromkeys(data.SUBSET, "0" * 64))
    with pytest.raises(DataError, match=r"is damaged.*Install snn_core again"):
        quiet(source="embedded")


def test_rows_are_the_transposed_pictures(embedded):
    rows = quiet(train=False, source="embedded", order="row")
    assert torch.equal(rows.images, embedded[1].images.transpose(2, 3))
    assert rows.images.is_contiguous()


def test_folder_and_subset_at_once_are_refused():
    with pytest.raises(DataError, match="data_path"):
        quiet("x", source="embedded")


def test_item_is_a_picture_and_its_label(embedded):
    image, label = embedded[0][7]
    assert torch.equal(image, embedded[0].images[7].float() / 255)
    assert label == embedded[0].labels[7].item() and type(label) is int


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("most", [data.MOST_BYTES, 0], ids=["floats", "bytes"])
def test_batches_are_the_images_of_the_indices(few, monkeypatch, workers, most):
    monkeypatch.setattr(data, "MOST_BYTES", most)
    wide = SimpleNamespace(images=few[0].images[..., :20], labels=few[0].labels)  # 28 x 20 pixels
    columns = prepared(wide)
    assert columns.x_seq.dtype == (torch.float32 if most else torch.uint8)
    assert columns.x_seq.shape == (20, 200, 28)
    order, before = torch.randperm(200), torch.get_rng_state()
    found = list(batches(columns, 64, order, workers))
    assert torch.equal(torch.get_rng_state(), before)
    assert [len(labels) for _, labels in found] == [64, 64, 64, 8]
    assert torch.equal(torch.cat([x for (x,), _ in found]), wide.images[order].float() / 255)
    assert torch.equal(torch.cat([labels for _, labels in found]), wide.labels[order])
