"""The loop and the options by their effect, and the command line."""

from __future__ import annotations

import copy
import json
import math
import re
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from support import environment, records
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from sequential_fmnist import train
from sequential_fmnist.evaluate import evaluate, predict, rate_loss
from sequential_fmnist.networks import NETWORKS, PlainNet
from sequential_fmnist.train import Trainer, TrainingConfig, fit, set_seed
from snn_core.functional import reset_net, states
from snn_core.neuron import SpikingNeuron

# Loss and accuracy


def test_rate_loss_by_hand():
    rate = torch.tensor([[0.5, 0.25], [0.0, 1.0]])
    # ((0.5 - 1)^2 + 0.25^2 + 0^2 + 0^2) / 4
    assert rate_loss(rate, torch.tensor([0, 1])).item() == pytest.approx((0.25 + 0.0625) / 4)


def test_evaluate_and_predict_are_the_plain_computation(few):
    net, (_, test) = PlainNet(), few
    rate = net(test.images.float() / 255).detach()
    reset_net(net)
    net.fc2 = nn.Sequential(net.fc2, nn.Dropout())  # which evaluation leaves out
    loss, accuracy = evaluate(net, test, batch_size=33)
    assert torch.equal(predict(net, test, batch_size=33), rate.argmax(1))
    assert accuracy == (rate.argmax(1) == test.labels).sum().item() / 100
    assert loss == pytest.approx(F.mse_loss(rate, F.one_hot(test.labels, 10).float()).item(), rel=1e-6)
    assert net.training
    assert not any(isinstance(value, torch.Tensor) for value in states(net).values())
    test = copy.copy(test)
    test.images, test.labels = test.images[:0], test.labels[:0]
    with pytest.raises(ValueError, match="at least one image"):
        evaluate(net, test)


# The loop


@pytest.mark.parametrize("options", [{}, {"opt": "adam", "lr": 0.01, "loss": "cross-entropy", "clip": 0.1}])
def test_an_epoch_is_the_four_lines_over_the_permutation(few, options):
    images, _ = few
    net, history = fit(TrainingConfig(epochs=1, batch_size=64, lrs="none", seed=5, **options), *few)

    set_seed(5)
    by_hand = PlainNet()
    if options:
        optimizer, loss_of = torch.optim.Adam(by_hand.parameters(), lr=0.01), F.cross_entropy
    else:
        optimizer, loss_of = torch.optim.SGD(by_hand.parameters(), lr=0.1, momentum=0.9), rate_loss
    loss_sum = hits = 0.0
    order = torch.randperm(200, generator=torch.Generator().manual_seed(5))
    for part in order.split(64):
        rate = by_hand(images.images[part].float() / 255)
        loss = loss_of(rate, images.labels[part])
        optimizer.zero_grad()
        loss.backward()
        if options:
            nn.utils.clip_grad_norm_(by_hand.parameters(), 0.1)
        optimizer.step()
        reset_net(by_hand)
        loss_sum += loss.item() * len(part)
        hits += (rate.argmax(1) == images.labels[part]).sum().item()
    for ours, theirs in zip(net.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert history[0]["train_loss"] == pytest.approx(loss_sum / 200, rel=1e-5)
    assert history[0]["train_accuracy"] == hits / 200


@pytest.mark.parametrize("model", NETWORKS)
def test_many_steps_in_one_call_are_the_steps_one_by_one(few, model):
    losses = []
    for after_step in (None, lambda: None):
        trainer = Trainer(TrainingConfig(model=model, batch_size=32, epochs=2))
        losses.append([trainer.train_epoch(few[0], after_step) for _ in range(2)])
    assert losses[0] == [pytest.approx(each, rel=1e-3) for each in losses[1]]


def test_what_comes_between_the_lines_is_not_left_out(few):
    """A network that overrides forward, a hook, and another backend take the four lines."""

    class Mine(PlainNet):
        def forward(self, images):
            return 0 * super().forward(images)

    _, history = fit(TrainingConfig(epochs=1, batch_size=50), *few, net=Mine())
    assert history[0]["train_loss"] == pytest.approx(0.1)
    trainer, seen = Trainer(TrainingConfig(batch_size=50)), []
    trainer.net.fc1.weight.register_hook(lambda gradient: seen.append(1))
    trainer.train_epoch(few[0])
    assert len(seen) == 4


@pytest.mark.parametrize("amp", [False, True])
@pytest.mark.parametrize("model", NETWORKS)
def test_each_network_learns_a_few_images(few, model, amp):
    images, _ = few
    config = TrainingConfig(model=model, epochs=14, batch_size=50, opt="adam", lr=0.02, amp=amp)
    _, history = fit(config, images, images)
    assert history[-1]["train_loss"] < 0.75 * history[0]["train_loss"]
    assert history[-1]["test_accuracy"] > 0.5


def test_amp_runs_linear_layers_in_bfloat16(few):
    trainer, seen = Trainer(TrainingConfig(amp=True)), []
    trainer.net.fc1.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    trainer.train_epoch(few[0])
    assert set(seen) == {torch.bfloat16}
    assert all(p.dtype == torch.float32 for p in trainer.net.parameters())


@pytest.mark.parametrize(
    ("where", "cut"), [("all", [True, True]), ("hidden", [True, False]), ("none", [False, False])]
)
@pytest.mark.parametrize("model", NETWORKS)
def test_detach_reset_cuts_where_it_says(model, where, cut):
    net = Trainer(TrainingConfig(model=model, detach_reset=where)).net
    assert [part.detach_reset for part in net.modules() if isinstance(part, SpikingNeuron)] == cut


@pytest.mark.parametrize("point", ["loss", "weight", "moment"])
def test_what_is_not_finite_stops_the_run(few, point):
    trainer = Trainer(TrainingConfig(epochs=2, batch_size=50, opt="adam"))
    if point == "loss":
        trainer.net.sn2 = nn.Identity()  # NaN reaches the rate only where no step function hides it
        trainer.net.fc2.bias.data.fill_(math.nan)
    elif point == "weight":
        trainer.net.fc1.bias.data.fill_(math.nan)
    else:
        trainer.train_epoch(few[0])
        trainer.optimizer.state[trainer.weights[0]]["exp_avg_sq"].fill_(math.inf)
    with pytest.raises(
        FloatingPointError, match=r"epoch [12]: the loss, a weight or .* is not finite: try a"
    ):
        trainer.train_epoch(few[0])


def test_fall_of_the_test_accuracy_is_reported():
    def lines(*accuracies):
        record = dict.fromkeys(("epoch", "lr", "train_loss", "train_accuracy", "test_loss"), 0)
        return [*train.describe([record | {"test_accuracy": accuracy} for accuracy in accuracies], 9)]

    assert len(lines(0.6)) == len(lines(0.5, 0.6)) == len(lines(0.6, 0.56)) == 1
    assert "fell from 60.0% to 40.0%" in lines(0.7, 0.6, 0.4)[1]


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_value_of_an_option_is_taken_or_refused_by_name(data):
    """Whatever the type: never another exception, and what is refused is named."""
    fields = vars(TrainingConfig())
    name = data.draw(st.sampled_from(sorted(fields)))
    value = data.draw(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.lists(st.integers())
        | st.sampled_from(["cpu", "cuda:99", "meta", "adam", "none", 2**32, 10**400, -0.0, 1 + 1j])
    )  # fmt: skip
    try:
        TrainingConfig(**{name: value})
    except (TypeError, ValueError) as error:
        assert name in str(error)
        assert value != fields[name] or type(value) is not type(fields[name])


# The command line


@pytest.fixture
def run(few, monkeypatch, tmp_path):
    """Run the command line on a few real images and return the folder of the run."""

    def load(data_path=None, train=True, **options):
        loaded.append({"data_path": data_path, "train": train} | options)
        return few[0] if train else few[1]

    def call(*argv, folder="run"):
        assert train.main([*argv, "--output-dir", str(tmp_path / folder)]) == 0
        return tmp_path / folder

    loaded = call.loaded = []
    monkeypatch.setattr(train, "SequentialFashionMNIST", load)
    return call


def saved(folder, name="latest.pt"):
    return torch.load(folder / name, weights_only=True)


def lrs(folder):
    return [record["lr"] for record in records(folder)]


def test_defaults_are_those_of_the_comparison(run):
    folder = run("--epochs", "1")
    config = saved(folder)["config"]
    expected = {"model": "plain", "batch_size": 256, "lr": 0.1, "opt": "sgd", "lrs": "cosa", "momentum": 0.9}
    assert {name: config[name] for name in expected} == expected
    assert json.loads((folder / "config.json").read_text()) == [{"from_epoch": 0} | config]
    names = ["best.pt", "config.json", "latest.pt", "metrics.jsonl"]
    assert sorted(path.name for path in folder.iterdir()) == names


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--lrs", "None"], [0.1, 0.1, 0.1, 0.1]),
        (["--lrs", "cosa"], [0.1, 0.0853553, 0.05, 0.0146447]),  # 0.05 (1 + cos(pi e / 4))
        (["--cosa-tmax", "2"], [0.1, 0.05, 0.0, 0.05]),
        (["--lrs", "step", "--step-size", "2"], [0.1, 0.1, 0.01, 0.01]),
        (["--lrs", "step", "--step-size", "1", "--step-gamma", "0.5", "--lr", "1"], [1, 0.5, 0.25, 0.125]),
        (["--start-epoch", "2"], [0.05, 0.0146447]),
    ],
)
def test_schedules(run, flags, expected):
    assert lrs(run("--epochs", "4", *flags)) == pytest.approx(expected, abs=1e-7)


def test_flags_of_the_optimizer_reach_it(run):
    state = saved(run("--epochs", "1", "--momentum", "0.3", "--wd", "0.2"))["optimizer"]
    assert [state["param_groups"][0][name] for name in ("momentum", "weight_decay")] == [0.3, 0.2]
    state = saved(run("--epochs", "1", "--opt", "adam", "-b", "30", "--overwrite"))["optimizer"]
    assert state["state"][0]["step"].item() == 7  # 200 images


def test_workers_change_nothing_but_the_rounding(run):
    without = run("--epochs", "2", "-b", "64", folder="without")
    with_workers = run("--epochs", "2", "-b", "64", "-j", "2", folder="with")
    for record, other in zip(records(with_workers), records(without), strict=True):
        assert record == pytest.approx(other, rel=1e-3)


@pytest.mark.parametrize("model", NETWORKS)
def test_model_hidden_seed_and_backend(run, model):
    argv = ["--epochs", "1", "--model", model, "--hidden", "7", "--backend", "torch"]
    one, other = run(*argv), run(*argv, "--seed", "1", folder="other")
    assert saved(one)["model"]["fc1.weight"].shape == (7, 28)
    assert ("sn1.0.rc.weight" in saved(one)["model"]) == (model == "feedback")
    assert records(one) == records(run(*argv, folder="again")) != records(other)


def test_flags_of_the_data_reach_the_data(run):
    run("--epochs", "1", "--data-path", "somewhere", "--order", "row", "--source", "full", "--cache-dataset")
    options = {"data_path": "somewhere", "order": "row", "source": "full", "cache": True, "verbose": True}
    assert run.loaded == [{"train": True} | options, {"train": False} | options]


def test_output_dir_defaults_to_runs_and_the_model(run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert train.main(["--epochs", "1", "--model", "feedback"]) == 0
    assert (tmp_path / "runs" / "feedback" / "latest.pt").exists()


def test_an_earlier_run_is_not_lost(run, capsys):
    folder = run("--epochs", "1")
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        train.main(["--epochs", "2", "--output-dir", str(folder)])
    assert capsys.readouterr().err == (
        f"error: {folder} holds a run: give --resume {folder}/latest.pt, or --overwrite\n"
    )
    assert len(records(folder)) == 1
    run("--epochs", "2", "--overwrite")
    assert len(records(folder)) == 2


def test_tb_writes_every_scalar_of_every_epoch_once_even_after_resume(run):
    folder = run("--epochs", "2", "--tb")
    assert train.main(["--epochs", "3", "--tb", "--resume", str(folder / "latest.pt")]) == 0
    events = EventAccumulator(str(folder / "tb"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == set(records(folder)[0]) - {"epoch"}
    accuracy = [(event.step, event.value) for event in events.Scalars("test_accuracy")]
    assert accuracy == [(r["epoch"], pytest.approx(r["test_accuracy"])) for r in records(folder)]
    run("--epochs", "1", "--tb", "--overwrite")
    assert len(EventAccumulator(str(folder / "tb")).Reload().Scalars("test_accuracy")) == 1


def test_threads(run):
    before = torch.get_num_threads()
    try:
        run("--epochs", "1", "--threads", "2")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    "argv", [["-b", "0"], ["--start-epoch", "64"], ["--threads", "0"], ["--device", "gpu"]]
)
def test_bad_values_end_with_status_2_and_one_line_that_names_them(run, argv, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        train.main([*argv, "--output-dir", str(tmp_path / "run")])
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert {"-b": "batch_size"}.get(argv[0], argv[0]).lstrip("-").replace("-", "_") in error
    assert not (tmp_path / "run").exists()


def test_an_error_of_ours_keeps_its_traceback(monkeypatch):
    def broken(*args, **options):
        raise ValueError("a fault")

    monkeypatch.setattr(train, "fit", broken)
    with pytest.raises(ValueError, match="a fault"):
        train.main(["--epochs", "1", "--source", "embedded"])


def test_help_of_the_text(capsys):
    with pytest.raises(SystemExit, match="0"):
        train.main(["--h"])
    flags = {
        "data-path", "device", "batch-size", "epochs", "workers", "lr", "opt", "lrs", "step-size", "step-gamma",
        "cosa-tmax", "momentum", "wd", "weight-decay", "output-dir", "resume", "start-epoch", "cache-dataset", "amp",
        "tb", "model",
    }  # fmt: skip
    assert flags <= {*re.findall(r"--([\w-]+)", capsys.readouterr().out)}


@pytest.mark.parametrize("model", NETWORKS)
def test_the_commands_of_the_text(run, capsys, monkeypatch, model):
    """Where there is such a GPU; where there is none, a line says so."""
    argv = f"--data-path /datasets/FashionMNIST --tb --device cuda:0 --amp --model {model}".split()
    given = vars(train.make_parser().parse_args(argv))
    assert given == {
        "data_path": "/datasets/FashionMNIST", "tb": True, "device": "cuda:0", "amp": True, "model": model
    }  # fmt: skip
    with monkeypatch.context() as patch, pytest.raises(SystemExit, match="2"):
        patch.setattr(torch, "empty", lambda *size, device: (_ for _ in ()).throw(AssertionError("no CUDA")))
        train.main(argv)
    assert capsys.readouterr().err == "error: no CUDA\n"


def test_as_a_program(tmp_path):
    """It imports neither TensorBoard, which only --tb needs, nor torchvision, nor the floors above."""
    code = "import sys; from sequential_fmnist import train; train.main(sys.argv[1:]); print(*sys.modules)"
    argv = ["--source", "embedded", "--epochs", "1", "-b", "1000", "--output-dir", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True, env=environment()
    )
    assert "6,000 of 60,000 training images" in done.stdout
    assert re.search(r"epoch 1/1: lr 0\.1000, train loss 0\.\d+ accuracy \d+\.\d+%, test loss", done.stdout)
    loaded = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert not loaded & {"tensorboard", "torchvision", "snn_exchange", "snn_tutorial", "experiments"}
    assert len(records(tmp_path / "run")) == 1
