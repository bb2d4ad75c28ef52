"""Checkpoints and shipped weights that are cut off, flipped, foreign or hostile: refused, and the way out is named."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import random
import re
import shutil
import zipfile

import pytest
import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from sequential_fmnist import checkpoint, train
from sequential_fmnist.checkpoint import (
    DIGEST_BYTES,
    FORMAT,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)
from sequential_fmnist.config import TrainingConfig
from sequential_fmnist.files import sha256
from sequential_fmnist.networks import NETWORKS
from sequential_fmnist.pretrained import CARDS, PRETRAINED_FOLDER, PretrainedError, card_digest, load
from sequential_fmnist.training import Trainer, fit

CONFIG = TrainingConfig(model="feedback", hidden=8, epochs=3, batch_size=30, opt="adam", lr=0.01)


@pytest.fixture(scope="module")
def data(embedded):
    """Sixty real images to train with, thirty to test: an epoch of two steps."""
    train_set, test_set = (copy.copy(split) for split in embedded)
    train_set.images, train_set.labels = train_set.images[:60], train_set.labels[:60]
    test_set.images, test_set.labels = test_set.images[:30], test_set.labels[:30]
    return train_set, test_set


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """The folder of a run of three epochs."""
    folder = tmp_path_factory.mktemp("finished")
    fit(CONFIG, *data, output_dir=folder)
    return folder


@pytest.fixture
def run(finished, tmp_path):
    """A copy of it that a test may damage."""
    return shutil.copytree(finished, tmp_path / "run")


def longer(**changes) -> TrainingConfig:
    return TrainingConfig(**vars(CONFIG) | {"epochs": 5, "cosa_tmax": 3} | changes)


def flip(path, bit) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def with_digest(zipped: bytes) -> bytes:
    """Return a zip file with the digest that save_checkpoint appends."""
    body = zipped[:-2] + DIGEST_BYTES.to_bytes(2, "little")
    return body + sha256(body).encode()


def same(one: object, other: object) -> bool:
    """Whether two states are the same to the bit."""
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


# Damage: the digest finds it


def test_every_flipped_bit_is_found(run, torture):
    path, seed = run / "latest.pt", 1
    content = path.read_bytes()
    flips = torture.count(fast=300, full=8000)
    for bit in random.Random(seed).sample(range(8 * len(content)), flips):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"latest\.pt is damaged .* SHA-256 does not match"):
            load_checkpoint(path)
            pytest.fail(f"bit {bit} of {8 * len(content)} was not missed")
    torture.figure(
        item=4, what="checkpoints with one flipped bit", flips=flips, refused=flips, file_bytes=len(content), seed=seed
    )  # fmt: skip


def test_every_length_is_found(run, torture):
    path, seed = run / "latest.pt", 2
    content = path.read_bytes()
    number = torture.count(fast=200, full=len(content))
    lengths = {0, 1, 63, 64, 65, len(content) - 1, *random.Random(seed).sample(range(len(content)), number)}
    for length in sorted(lengths, reverse=True):
        os.truncate(path, length)  # a file that shrinks on: no length is written anew
        with pytest.raises(CheckpointError, match=r"latest\.pt is damaged .* SHA-256 does not match"):
            load_checkpoint(path)
            pytest.fail(f"the first {length} bytes of {len(content)} were taken for a checkpoint")
    torture.figure(
        item=4, what="checkpoints that are cut off", lengths=len(lengths), refused=len(lengths),
        file_bytes=len(content), seed=seed,
    )  # fmt: skip


def test_it_is_the_digest_that_finds_damage(run, monkeypatch):
    """Without it many flipped bits would load: the tests above do not pass because torch notices."""
    content = (run / "latest.pt").read_bytes()
    monkeypatch.setattr(checkpoint, "sha256", lambda data: content[-DIGEST_BYTES:].decode())
    loaded = 0
    for bit in random.Random(3).sample(range(8 * (len(content) - DIGEST_BYTES)), 100):
        (run / "flipped.pt").write_bytes(content)
        flip(run / "flipped.pt", bit)
        try:
            load_checkpoint(run / "flipped.pt")
            loaded += 1
        except CheckpointError:
            pass
    assert loaded > 30


# Code in a pickle: not executed


class Call:
    """Pickled, it is a call that unpickling makes."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class State:
    """Pickled, it hands a call to __setstate__, as a module would."""

    def __init__(self, call):
        self.call = call

    def __reduce__(self):
        return (torch.nn.Module, (), {"_buffers": self.call})


PAYLOADS = {
    "os.system": lambda path: Call(os.system, f"touch '{path}'"),
    "builtins.exec": lambda path: Call(exec, f"open({str(path)!r}, 'w').close()"),
    "setstate": lambda path: State(Call(os.mkdir, str(path))),
}


def in_zip(state, payload):
    buffer = io.BytesIO()
    torch.save(payload, buffer)
    return with_digest(buffer.getvalue())


def in_weights(state, payload):
    return in_zip(state, state | {"model": state["model"] | {"fc1.weight": payload}})


def in_pickle(state, payload):
    body = pickle.dumps(payload)
    return body + sha256(body).encode()


CONTAINERS = (in_zip, in_weights, in_pickle)


def test_no_code_in_a_checkpoint_is_executed(run, data, tmp_path, torture):
    path, mark = run / "latest.pt", tmp_path / "executed"
    state = load_checkpoint(path)
    for name, payload in PAYLOADS.items():
        for container in CONTAINERS:
            content = container(state, payload(mark))
            path.write_bytes(content)
            with pytest.raises(
                CheckpointError, match=r"latest\.pt (was not written by|is damaged).*previous\.pt"
            ):
                fit(longer(), *data, resume=path)
            assert not mark.exists(), f"{name} {container.__name__} was executed"
            # The same file would run where code is allowed: the test would notice.
            pickle.loads(content) if container is in_pickle else torch.load(path, weights_only=False)
            assert mark.exists(), f"{name} {container.__name__} would never run"
            mark.rmdir() if mark.is_dir() else mark.unlink()
    files = len(PAYLOADS) * len(CONTAINERS)
    torture.figure(
        item=4, what="pickles that would run code, in three kinds of file, digests right", files=files, refused=files,
        executed=0,
    )  # fmt: skip


def scripted() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), buffer)
    return with_digest(buffer.getvalue())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*looks like a TorchScript:UserWarning")
def test_files_of_other_kinds_are_refused_whatever_their_digest(run, data, torture):
    path = run / "latest.pt"
    tensors = io.BytesIO()
    torch.save([torch.ones(3)], tensors)
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    bodies = [b"", b"x", b"PK\x03\x04", b"\x80\x02.", bytes(1000), random.Random(4).randbytes(1000)]
    contents = [body + sha256(body).encode() for body in bodies]
    contents += [
        scripted(),
        with_digest(tensors.getvalue()),
        with_digest(empty.getvalue()),
    ]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(
            CheckpointError, match=r"latest\.pt was not written by snn_core.*--resume .*previous"
        ):
            fit(longer(), *data, resume=path)
    torture.figure(
        item=4, what="files that are no checkpoints, digests right: TorchScript, noise",
        files=len(contents), refused=len(contents),
    )  # fmt: skip


# Content: right digests, states of another run


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epoch": None}, "has no epoch"),
        ({"model": {}}, "model has no fc1.bias"),
        ({"model": {"fc1.weight": torch.zeros(7, 28)}}, r"fc1.weight has shape \[7, 28\], this run has \[8, 28\]"),
        ({"model": {"fc1.weight": torch.zeros(8, 28).long()}}, "dtype torch.int64, this run has torch.float32"),
        ({"model": {"extra": torch.zeros(1)}}, "model has an unknown extra"),
        ({"optimizer": {"state": {0: {"exp_avg": torch.zeros(7, 28)}}}}, r"optimizer 0 exp_avg has shape \[7, 28\]"),
        ({"optimizer": {"state": {9: {}}}}, "optimizer has a state 9 that belongs to none of the weights"),
        ({"config": {"hidden": 9}}, "made with hidden=9, this run has hidden=8"),
    ],
)  # fmt: skip
def test_message_names_the_file_what_is_wrong_and_what_to_do(run, data, change, message):
    path = run / "latest.pt"
    state = load_checkpoint(path)
    for name, value in change.items():
        if value is None:
            del state[name]
        elif isinstance(value, dict) and value:
            state[name] = state[name] | value
        else:
            state[name] = value
    save_checkpoint(path, state)
    pattern = (
        rf"checkpoint .*latest\.pt cannot be used: .*{message}.*; .*continue with --resume .*previous\.pt$"
    )
    with pytest.raises(CheckpointError, match=pattern):
        fit(longer(), *data, resume=path)


# Versions


def test_a_newer_format_is_refused_and_says_so(run, data, monkeypatch):
    path = run / "latest.pt"
    state = load_checkpoint(path)
    monkeypatch.setattr(checkpoint, "FORMAT", FORMAT + 1)
    save_checkpoint(path, state)
    assert load_checkpoint(path).keys() == state.keys()
    monkeypatch.undo()
    message = (
        rf"latest\.pt has format {FORMAT + 1}, .* up to {FORMAT}: install a newer snn_core; .*previous\.pt is"
    )
    with pytest.raises(CheckpointError, match=message):
        fit(longer(), *data, resume=path)


def test_a_file_from_before_there_were_formats_resumes_bit_for_bit(run, data):
    path = run / "latest.pt"
    state = load_checkpoint(path)
    expected, history = fit(longer(), *data, resume=path)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path.write_bytes(with_digest(buffer.getvalue()))
    assert "format" not in torch.load(path, weights_only=True)
    net, old_history = fit(longer(), *data, resume=path)
    assert same(net.state_dict(), expected.state_dict())
    assert history == old_history


def test_a_run_in_mixed_precision_resumes_where_there_is_no_scaler(run, data):
    """A checkpoint of the CPU, which needs no scaler, is resumed with one."""
    trainer = Trainer(longer())
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    trainer.load_state_dict(load_checkpoint(run / "latest.pt"))
    assert trainer.epoch == 3
    assert trainer.scaler.get_scale() == 8.0


# The way out


@pytest.fixture
def command(data, monkeypatch, capsys):
    """Run the command line on the few images; return its status and the lines of its errors."""
    monkeypatch.setattr(
        train, "SequentialFashionMNIST", lambda *args, train, **options: data[0 if train else 1]
    )
    flags = {"model": CONFIG.model, "hidden": 8, "epochs": 5, "batch-size": 30, "opt": "adam", "lr": 0.01}
    argv = [part for name, value in (flags | {"cosa-tmax": 3}).items() for part in (f"--{name}", str(value))]

    def call(*more):
        status = train.main([*argv, *map(str, more)])
        return status, [line for line in capsys.readouterr().err.splitlines() if "error:" in line]

    return call


@pytest.mark.parametrize(("bad", "offered", "epoch"), [(1, "previous.pt", 2), (2, "best.pt", 1)])
def test_the_command_in_the_message_resumes_to_the_same_end(
    run, command, data, bad, offered, epoch, tmp_path
):
    """What a user copies from the message works, and ends where the run would have ended."""
    whole = shutil.copytree(run, tmp_path / "whole")
    command("--resume", whole / "latest.pt")
    fit(CONFIG, *data, output_dir=tmp_path / "first", stop=lambda: True)
    shutil.copy(tmp_path / "first" / "latest.pt", run / "best.pt")  # of any epoch: here of the first
    for name in ("latest.pt", "previous.pt")[:bad]:
        flip(run / name, 4000)
    status, lines = command("--resume", run / "latest.pt")
    assert status == 1
    assert len(lines) == 1
    pattern = rf"latest\.pt is damaged.*; \S*{offered} is good, from after epoch {epoch}: continue with --resume (\S+)$"
    named = re.search(pattern, lines[0])
    assert named, lines
    assert command("--resume", named[1]) == (0, [])
    expected, found = (load_checkpoint(folder / "latest.pt") for folder in (whole, run))
    assert found["epoch"] == 5
    for name in ("model", "optimizer", "history", "rng", "sampler"):
        assert same(found[name], expected[name]), name


def test_no_bad_checkpoint_is_offered(run, command, data):
    """Beside a damaged one: one cut off, one of another run; then nothing is offered."""
    latest, previous, best = (run / name for name in ("latest.pt", "previous.pt", "best.pt"))
    state = load_checkpoint(previous)
    flip(latest, 4000)
    os.truncate(best, 100)
    wrong = {
        "another seed": state | {"config": state["config"] | {"seed": 1}},
        "another network": state | {"config": state["config"] | {"model": "plain"}},
        "another shape": state | {"model": state["model"] | {"fc1.bias": torch.zeros(9)}},
        "incomplete": {name: value for name, value in state.items() if name != "rng"},
    }
    for why, content in wrong.items():
        save_checkpoint(previous, content)
        status, lines = command("--resume", latest)
        assert status == 1, why
        assert lines[0].endswith(
            f"nothing else in {run} can be resumed by this run: start anew without --resume"
        ), why
    latest.unlink()
    status, lines = command("--resume", latest)
    assert "has none before its first epoch has ended); nothing else" in lines[0]
    save_checkpoint(previous, state)
    for missing in (latest, run):  # the file, or a folder in its place
        status, lines = command("--resume", missing)
        assert f"has none before its first epoch has ended); {previous} is good" in lines[0]


def test_previous_checkpoint_is_that_of_the_epoch_before_and_of_the_same_run(run, command):
    assert load_checkpoint(run / "previous.pt")["epoch"] == 2
    assert load_checkpoint(run / "latest.pt")["epoch"] == 3
    assert command("--resume", run / "latest.pt", "--epochs", 4) == (0, [])
    assert load_checkpoint(run / "previous.pt")["epoch"] == 3
    assert command("--output-dir", run, "--overwrite", "--epochs", 1) == (0, [])
    assert not (run / "previous.pt").exists()  # the old one is another run's


def test_a_refused_checkpoint_leaves_the_callers_network_alone(run, data):
    state = load_checkpoint(run / "latest.pt")
    save_checkpoint(run / "latest.pt", state | {"model": state["model"] | {"fc2.bias": torch.zeros(9)}})
    net = NETWORKS[CONFIG.model](hidden=8)
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(CheckpointError, match=r"previous\.pt is good"):
        fit(longer(), *data, net=net, resume=run / "latest.pt")
    assert same(net.state_dict(), before)


# Shipped weights


@pytest.fixture
def shipped(tmp_path):
    """A copy of the package's trained networks."""
    return shutil.copytree(PRETRAINED_FOLDER, tmp_path / "pretrained")


def test_every_flipped_bit_in_shipped_weights_is_found(shipped, torture):
    seed, flips = 6, torture.count(fast=100, full=2000)
    for kind in NETWORKS:
        path = shipped / f"{kind}.safetensors"
        content = path.read_bytes()
        for bit in random.Random(seed).sample(range(8 * len(content)), flips):
            flip(path, bit)
            with pytest.raises(PretrainedError, match=rf"{kind}\.safetensors are damaged: expected SHA-256"):
                load(kind, shipped)
            flip(path, bit)
        for length in random.Random(seed).sample(range(len(content)), min(flips, len(content))):
            path.write_bytes(content[:length])
            with pytest.raises(PretrainedError, match=rf"{kind}\.safetensors are damaged"):
                load(kind, shipped)
        path.write_bytes(content)
        load(kind, shipped)
    torture.figure(
        item=4, what="shipped weights with one flipped bit, or cut off", flips=3 * flips, lengths=3 * flips,
        refused=6 * flips, seed=seed,
    )  # fmt: skip


def test_a_flipped_bit_in_the_cards_is_found_or_not_in_this_card(shipped, torture):
    """A card carries its own digest: what loads at all is what was shipped."""
    path, kind, seed = shipped / CARDS, "stateful-synapse", 7
    content, (net, card) = path.read_bytes(), load(kind, shipped)
    flips, refused, elsewhere = torture.count(fast=150, full=4000), 0, 0
    for bit in random.Random(seed).sample(range(8 * len(content)), flips):
        path.write_bytes(content)
        flip(path, bit)
        try:
            other, other_card = load(kind, shipped)
        except PretrainedError:
            refused += 1
            continue
        elsewhere += 1
        changed_names = {name for name in card if other_card.get(name) != card[name]}
        assert changed_names <= {"card_sha256"}, f"bit {bit}: {changed_names} changed silently"
        assert same(other.state_dict(), net.state_dict())
    for length in random.Random(seed).sample(range(len(content) - 1), min(flips, len(content) - 1)):
        path.write_bytes(content[:length])
        with pytest.raises(PretrainedError, match=r"cards\.json are damaged"):
            load(kind, shipped)
    assert refused > flips / 4
    torture.figure(
        item=4, what="cards of shipped weights, a third of the file one network's, with one flipped bit or cut off",
        flips=flips, refused=refused, in_other_cards=elsewhere, wrong=0, seed=seed,
    )  # fmt: skip


def rewrite(folder, change) -> None:
    """Change the card of the plain network, and let its digest be right."""
    cards = json.loads((folder / CARDS).read_text())
    change(cards["plain"])
    cards["plain"]["card_sha256"] = card_digest(cards["plain"])
    (folder / CARDS).write_text(json.dumps(cards))


@pytest.mark.parametrize(
    "name",
    [
        "../plain.safetensors", "../../etc/passwd", "/etc/passwd", "a/../plain.safetensors", "./plain.safetensors",
        "..\\plain.safetensors", "plain.safetensors\0", "plain.safetensors\n", "", ".", "..", "cards.json",
        ".safetensors", "~/plain.safetensors", "$HOME/plain.safetensors", "file:///plain.safetensors", None, 3,
        ["plain.safetensors"], {"a": 1}, "x" * 5000,
    ],
)  # fmt: skip
def test_a_card_reads_no_file_outside_its_folder(shipped, monkeypatch, name):
    shutil.copy(
        shipped / "plain.safetensors", shipped.parent
    )  # so that a way out of the folder leads somewhere
    rewrite(shipped, lambda card: card.update(file=name))
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda path: pytest.fail(f"{path} was read"))
    with pytest.raises(PretrainedError, match=r"must be a plain name\.safetensors beside them"):
        load("plain", shipped)


CARDS_OF_NO_USE = {
    "no dict of cards": lambda card, text: "[]",
    "cards are a number": lambda card, text: "3",
    "nested": lambda card, text: "[" * 100_000,
    "not utf-8": lambda card, text: b"\xff\xfe{}",
    "card is a list": lambda card, text: json.dumps({"plain": [1]}),
    "card is null": lambda card, text: json.dumps({"plain": None}),
    "spec is a list": lambda card, text: card.update(spec=[]),
    "spec is text": lambda card, text: card.update(spec="plain"),
    "spec is empty text": lambda card, text: card.update(spec=""),
    "of another kind": lambda card, text: card["spec"].update(kind="feedback"),
    "no such kind": lambda card, text: card["spec"].update(kind="spiral"),
    "hidden is text": lambda card, text: card["spec"].update(hidden="32"),
    "hidden takes all memory": lambda card, text: card["spec"].update(hidden=10**9),
    "hidden is negative": lambda card, text: card["spec"].update(hidden=-1),
    "hidden is a list": lambda card, text: card["spec"].update(hidden=[32]),
    "hidden is half": lambda card, text: card["spec"].update(hidden=32.5),
    "alpha is not a number": lambda card, text: card["spec"].update(alpha=float("nan")),
    "scale is infinite": lambda card, text: card["spec"].update(scale=1e999),
    "alpha is negative": lambda card, text: card["spec"].update(alpha=-2.0),
    "unknown field": lambda card, text: card["spec"].update(__class__="os.system"),
    "digest is a number": lambda card, text: card.update(sha256=3),
    "digest is a list": lambda card, text: card.update(sha256=["x"]),
    "no digest": lambda card, text: card.pop("sha256"),
}


@pytest.mark.parametrize("case", CARDS_OF_NO_USE)
def test_hostile_cards_are_refused(shipped, case):
    def change(card):
        text = CARDS_OF_NO_USE[case](card, None)
        written.append(text)

    written = []
    rewrite(shipped, change)
    if isinstance(written[0], str | bytes) and case != "no digest":
        content = written[0] if isinstance(written[0], bytes) else written[0].encode()
        (shipped / CARDS).write_bytes(content)
    with pytest.raises(PretrainedError, match=r"(cards|weights) \S+ (have|are|describe|do not fit)"):
        load("plain", shipped)


def header(text: str, body: bytes = b"") -> bytes:
    return len(text).to_bytes(8, "little") + text.encode() + body


def good_tensors() -> dict[str, Tensor]:
    return load("plain")[0].state_dict()


HOSTILE_WEIGHTS = {
    "empty": lambda: b"",
    "header longer than the file": lambda: (2**62).to_bytes(8, "little") + b"{}",
    "header is no JSON": lambda: header("{" * 100),
    "offsets beyond the file": lambda: header('{"fc1.weight":{"dtype":"F32","shape":[32,28],"data_offsets":[0,3584]}}'),
    "a shape that overflows": lambda: header(
        '{"fc1.weight":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}', bytes(4)
    ),
    "unknown dtype": lambda: header('{"fc1.weight":{"dtype":"X1","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
    "overlapping": lambda: header(
        '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        bytes(4),
    ),
    "a pickle": lambda: pickle.dumps({"fc1.weight": 1}),
    "NaN": lambda: save_tensors(good_tensors() | {"fc1.bias": torch.full((32,), torch.nan)}),
    "infinite": lambda: save_tensors(good_tensors() | {"fc2.bias": torch.full((10,), torch.inf)}),
    "integers": lambda: save_tensors({name: tensor.long() for name, tensor in good_tensors().items()}),
    "double": lambda: save_tensors({name: tensor.double() for name, tensor in good_tensors().items()}),
    "missing": lambda: save_tensors({"fc1.bias": torch.zeros(32)}),
    "extra": lambda: save_tensors(good_tensors() | {"more": torch.zeros(1)}),
    "transposed": lambda: save_tensors(good_tensors() | {"fc1.weight": torch.zeros(28, 32)}),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE_WEIGHTS)
def test_hostile_weights_are_refused_whatever_their_digest(shipped, case):
    content = HOSTILE_WEIGHTS[case]()
    (shipped / "plain.safetensors").write_bytes(content)
    rewrite(shipped, lambda card: card.update(sha256=sha256(content)))
    with pytest.raises(
        PretrainedError, match=r"plain\.safetensors do not fit the network .*Install snn_core again"
    ):
        load("plain", shipped)
