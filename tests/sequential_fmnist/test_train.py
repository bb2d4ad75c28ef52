"""The loop and the options by their effect, and the command line."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import re
import subprocess
import sys
from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from support import environment, records
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from sequential_fmnist import data as images_module
from sequential_fmnist import train
from sequential_fmnist.data import Images, Sequences, SequentialFashionMNIST, prepared
from sequential_fmnist.evaluate import LOSSES, evaluate, predict, rate_loss
from sequential_fmnist.networks import (
    NETWORKS,
    ColumnNet,
    PlainNet,
    columns_as_sequence,
    make_network,
)
from sequential_fmnist.train import FusedError, Trainer, TrainingConfig, fit
from sequential_fmnist.variants import NetworkSpec
from snn_core.functional import SkipOverflow, mean_over_time, reset_net, scan, states
from snn_core.neuron import MultiStepIFNode, MultiStepLIFNode
from snn_core.surrogate import ATan

# Loss and accuracy


def test_rate_loss_by_hand():
    rate = torch.tensor([[0.5, 0.25], [0.0, 1.0]])
    # ((0.5 - 1)^2 + 0.25^2 + 0^2 + 0^2) / 4
    assert rate_loss(rate, torch.tensor([0, 1])).item() == pytest.approx((0.25 + 0.0625) / 4)


def test_evaluate_and_predict_are_the_plain_computation_whatever_state_is_left(few):
    net, (_, test) = PlainNet(), few
    rate = net(test.images.float() / 255).detach()  # leaves a state
    net.fc2 = nn.Sequential(net.fc2, nn.Dropout())  # which evaluation leaves out
    for size in (100, 33):
        assert torch.equal(predict(net, test, batch_size=size), rate.argmax(1))
        loss, accuracy = evaluate(net, test, batch_size=size)
        assert accuracy == (rate.argmax(1) == test.labels).sum().item() / 100
        assert loss == pytest.approx(F.mse_loss(rate, F.one_hot(test.labels, 10).float()).item(), rel=1e-6)
        assert net.training
        assert not states(net)
        net(test.images[:100].float() / 255)
    with pytest.raises(ValueError, match="at least one sample"):
        evaluate(net, Sequences(torch.rand(28, 0, 28), torch.zeros(0)))


# The loop


def plain(model="plain"):
    torch.manual_seed(0)
    return make_network(model)


def by_hand(net, config, batches, loss_of):
    """The ordinary loop, as anybody writes it."""
    if config.opt == "adam":
        optimizer = torch.optim.Adam(net.parameters(), config.lr)
    else:
        optimizer = torch.optim.SGD(net.parameters(), config.lr, momentum=config.momentum)
    lost = right = seen = 0
    for *inputs, labels in batches:
        outputs = net(*inputs)
        loss = loss_of(outputs, labels)
        optimizer.zero_grad()
        loss.backward()
        if config.clip:
            nn.utils.clip_grad_norm_(net.parameters(), config.clip)
        optimizer.step()
        reset_net(net)
        lost, seen = lost + loss.item() * labels.numel(), seen + labels.numel()
        right += (outputs.argmax(-1) == labels).sum().item()
    return {"train_loss": pytest.approx(lost / seen, rel=1e-4), "train_accuracy": right / seen}


def in_order(data, seed, size):
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    return [(data.images[part].float() / 255, data.labels[part]) for part in order.split(size)]


def assert_same_weights(one, other):
    for name, weight in one.state_dict().items():
        torch.testing.assert_close(weight, other.state_dict()[name], rtol=1e-4, atol=1e-6, msg=name)


class Deeper(PlainNet):
    """A layer more: the first edit of a learner."""

    def __init__(self):
        super().__init__(hidden=16)
        self.fc3, self.sn3 = nn.Linear(10, 10), MultiStepIFNode(surrogate_function=ATan())


class Forward(PlainNet):
    """A layer more in ``forward`` alone, not at the end of the chain."""

    def __init__(self):
        super().__init__(hidden=16)
        self.fc3 = nn.Linear(16, 16)

    def forward(self, images):
        x = columns_as_sequence(images)
        return scan(x, self.fc1, self.sn1, self.fc3, self.fc2, self.sn2).mean(0)


class Mine(nn.Module):
    """A network without a chain."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(28, 16), nn.Linear(16, 10)

    def forward(self, images):
        return self.last(self.first(images.squeeze(1).transpose(1, 2)).relu().mean(1))


class Single(nn.Module):
    """A layer that computes in fp32 alone."""

    def forward(self, x):
        return x @ torch.eye(x.shape[-1])


class Odd(ColumnNet):
    def __init__(self):
        super().__init__(OrderedDict(fc1=nn.Linear(28, 10), single=Single(), sn1=MultiStepIFNode()))


def summed(rate, labels):
    return 3 * rate_loss(rate, labels)


@pytest.mark.parametrize("recipe", [{}, {"opt": "adam", "lr": 0.01, "loss": "cross-entropy", "clip": 0.1}])
@pytest.mark.parametrize("make", [*NETWORKS.values(), Deeper, Forward, Mine, Odd])
def test_what_stands_in_forward_is_what_is_trained(few, make, recipe):
    config = TrainingConfig(epochs=1, batch_size=32, lrs="none", seed=5, **recipe)
    torch.manual_seed(1)
    net = make()
    other = copy.deepcopy(net)
    history = fit(net, *few, config)
    found = by_hand(other, config, in_order(few[0], 5, 32), LOSSES[config.loss])
    assert history[0] | found == history[0]
    assert_same_weights(net, other)


def test_nothing_but_the_loop_runs_unless_fused_is_said(few, monkeypatch):
    """Whatever is written into the loop is called, as nobody takes its steps."""
    monkeypatch.setattr(
        train, "train_steps", lambda *given: pytest.fail("a fused step that nobody asked for")
    )
    for model in NETWORKS:
        fit(plain(model), *few, TrainingConfig(epochs=1, batch_size=32))


# Fused steps


RECIPES = [
    {},
    {"opt": "adam", "lr": 0.01, "loss": "cross-entropy", "clip": 0.1},
    {"skip_overflow": True, "drop_last": True},
    {"batch_size": 500},
]


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("make", [*NETWORKS.values(), Deeper])
def test_fused_steps_are_those_of_the_loop(few, make, recipe):
    """With a last batch that is not full, and one that is the only one."""
    config, nets, histories = TrainingConfig(**{"epochs": 2, "batch_size": 32, "seed": 5} | recipe), [], []
    for fused in (False, True):
        torch.manual_seed(1)
        nets.append(make())
        histories.append(fit(nets[-1], *few, config, fused=fused))
    for one, other in zip(*histories, strict=True):
        assert one == pytest.approx(other, rel=1e-3)
    assert_same_weights(*nets)


def test_fused_steps_with_images_that_stay_bytes(few, monkeypatch):
    few[0].mean, few[0].std = 0.3, 0.5
    nets = [plain(), plain()]
    for net in nets:
        fit(net, few[0], config=TrainingConfig(epochs=2, batch_size=32, fused=True))
        monkeypatch.setattr(images_module, "MOST_BYTES", 0)
    assert prepared(few[0]).x_seq.dtype == torch.uint8
    assert all(torch.equal(*pair) for pair in zip(nets[0].parameters(), nets[1].parameters(), strict=True))


def hooked(register):
    register(net := plain())
    return net


def batch_normalised():
    return NetworkSpec("plain", batch_norm=True).build()


@pytest.mark.parametrize(
    ("make", "given", "reason"),
    [
        (plain, {"loss": summed}, "a loss of your own is not called"),
        (plain, {"config": TrainingConfig(amp=True, fused=True)}, "amp computes in float16"),
        (plain, {"config": TrainingConfig(workers=1, fused=True)}, "workers load batch after batch"),
        (plain, {"after_step": print}, "after_step is not called"),
        (lambda: hooked(lambda net: net.register_forward_hook(print)), {}, "hooks are not called"),
        (lambda: hooked(lambda net: net.fc1.register_forward_hook(print)), {}, "hooks are not called"),
        (lambda: hooked(lambda net: net.fc1.weight.register_hook(print)), {}, "hooks are not called"),
        (lambda: NetworkSpec("feedback", frozen_recurrent=True).build(), {}, "hooks are not called"),
        (Forward, {}, "Forward has a forward other than"),
        (Mine, {}, "Mine has a forward other than"),
        (lambda: NetworkSpec("plain", scale=10.0).build(), {}, "TrainedNet has a forward other than"),
        (batch_normalised, {}, "TrainedNet has a forward other than"),
        (Odd, {}, "Single"),
        (plain, {"train": [(torch.rand(8, 1, 28, 28), torch.zeros(8).long())]}, "the data must be images"),
        (
            plain,
            {"train": Sequences(torch.rand(28, 8, 28), torch.zeros(8).long())},
            "the data must be images",
        ),
    ],
)
def test_what_cannot_be_fused_is_one_error_before_anything_is_done(few, tmp_path, make, given, reason):
    torch.manual_seed(0)
    net = make()
    before = copy.deepcopy(net.state_dict())
    given = {"train": few[0], "config": TrainingConfig(epochs=1, fused=True)} | given
    with pytest.raises(FusedError, match=rf"^fused training is impossible: .*{reason}"):
        fit(net, **given, output_dir=tmp_path / "run")
    assert all(torch.equal(weight, before[name]) for name, weight in net.state_dict().items())
    assert not (tmp_path / "run").exists()


def test_a_hook_that_comes_later_ends_fused_training(few):
    net = plain()
    with pytest.raises(FusedError, match="hooks"):
        fit(
            net,
            few[0],
            config=TrainingConfig(epochs=2, fused=True),
            log=lambda _: net.fc1.register_forward_hook(lambda *_: None),
        )


@pytest.mark.parametrize(("name", "value"), [("device", torch.device("cuda")), ("processes", 2)])
def test_fused_steps_are_taken_on_the_cpu_in_one_process(few, name, value):
    trainer = Trainer(plain(), TrainingConfig(fused=True))
    setattr(trainer, name, value)
    with pytest.raises(FusedError, match="it runs "):
        trainer.check_fused(prepared(few[0]))


@pytest.mark.parametrize("fused", [False, True])
def test_labels_out_of_range_are_said_to_be_that(few, fused):
    data = SimpleNamespace(images=few[0].images, labels=few[0].labels + 5)
    with pytest.raises((ValueError, RuntimeError), match=r"^labels must be|^Class values must be"):
        fit(PlainNet(), data, fused=fused)


class Speakers(nn.Sequential):
    """Reads sequences, of different lengths if they are given."""

    def forward(self, x_seq, lengths=None):
        return mean_over_time(scan(x_seq, *self, lengths=lengths), lengths)


@pytest.mark.parametrize("lengths", [None, torch.arange(60) % 5 + 3])
def test_sequences_and_batches_of_any_kind(lengths):
    """The same samples as sequences, and as a loader's batches, are trained as by hand."""
    x_seq, labels = torch.rand(7, 60, 4), torch.arange(60) % 3
    x_seq[:, labels == 1] += 1
    config = TrainingConfig(epochs=1, batch_size=16, lr=0.01, opt="adam", loss="cross-entropy", seed=3)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(3)).split(16)
    loader = [(x_seq[:, part], *([] if lengths is None else [lengths[part]]), labels[part]) for part in order]
    torch.manual_seed(0)
    hidden = MultiStepLIFNode(surrogate_function=ATan(), detach_reset=True)
    nets = [Speakers(nn.Linear(4, 8), hidden, nn.Linear(8, 3))]
    nets += [copy.deepcopy(nets[0]) for _ in range(2)]
    data = Sequences(x_seq, labels, lengths)
    found = [fit(nets[0], data, data, config), fit(nets[1], loader, loader, config)]
    expected = by_hand(nets[2], config, loader, F.cross_entropy)
    assert found[0] == [pytest.approx(found[1][0], rel=1e-5)]
    assert found[0][0] | expected == found[0][0]
    assert_same_weights(nets[0], nets[2])
    assert_same_weights(nets[1], nets[2])


@pytest.mark.parametrize("given", [{"loss": summed}, {}], ids=["given", "by its name"])
def test_a_loss_of_ones_own_and_a_state_left_from_before(few, given, monkeypatch):
    monkeypatch.setitem(LOSSES, "summed", summed)
    config = TrainingConfig(epochs=1, batch_size=64, seed=5, loss="mse" if given else "summed")
    nets = [plain(), plain()]
    nets[0](few[0].images[:5].float() / 255)  # another number of samples
    fit(nets[0], *few, config, **given)
    by_hand(nets[1], config, in_order(few[0], 5, 64), summed)
    assert_same_weights(*nets)


def test_training_stops_when_it_is_told_to(few):
    config, asked = TrainingConfig(epochs=9, batch_size=100), []
    history = fit(plain(), few[0], config=config, stop=lambda: asked.append(1) or len(asked) == 3)
    assert len(history) == 3
    assert "test_loss" not in history[0]


@pytest.mark.parametrize("model", NETWORKS)
def test_each_network_learns_a_few_images_in_float16(few, model):
    (images, _), net, seen = few, plain(model), set()
    net.fc1.register_forward_hook(lambda module, inputs, output: seen.add((module.training, output.dtype)))
    config = TrainingConfig(epochs=14, batch_size=50, opt="adam", lr=0.02, amp=True)
    history = fit(net, images, images, config)
    assert history[-1]["train_loss"] < 0.75 * history[0]["train_loss"]
    assert history[-1]["test_accuracy"] > 0.5
    assert (True, torch.float16) in seen
    assert all(p.dtype == torch.float32 for p in net.parameters())
    assert history[0]["skipped_steps"] == 0


# What the published recipes need


def test_an_update_that_overflows_is_skipped_as_torchs_scaler_skips_it():
    """The same gradients, of which some are too large for float16, through both."""
    ours, theirs = SkipOverflow(), torch.amp.GradScaler("cpu", growth_interval=2_000)
    theirs.scale(torch.zeros(()))
    weights = [nn.Parameter(torch.zeros(3)) for _ in range(2)]
    optimizers = [torch.optim.SGD([weight], lr=1.0) for weight in weights]
    torch.manual_seed(0)
    skipped = 0
    for step in range(2_500):
        gradient = torch.rand(3) * {0: 4, 1: 8, 7: 16}.get(step, 0.1)
        if step == 9:
            gradient[1] = torch.nan
        before = ours.get_scale()
        weights[0].grad = gradient.clone()
        weights[1].grad = (gradient * theirs.get_scale()).half().float()
        for scaler, optimizer in zip((ours, theirs), optimizers, strict=True):
            scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
        assert ours.get_scale() == theirs.get_scale()
        skipped += ours.get_scale() < before
    assert skipped == 4
    assert ours.get_scale() == 2**13  # once doubled
    torch.testing.assert_close(*weights, rtol=1e-2, atol=0)


def test_a_skipped_step_changes_no_weight_and_is_counted(few):
    config = TrainingConfig(epochs=1, batch_size=50, skip_overflow=True)
    net = plain()
    before = copy.deepcopy(net)
    history = fit(net, few[0], config=config, loss=lambda rate, labels: 1e4 * rate_loss(rate, labels))
    assert history[0]["skipped_steps"] == 4
    assert_same_weights(net, before)
    history = fit(net, few[0], config=config)
    assert history[0]["skipped_steps"] == 0
    usual = fit(before, few[0], config=dataclasses.replace(config, skip_overflow=False))
    assert history[0]["train_loss"] == pytest.approx(usual[0]["train_loss"], rel=1e-3)
    with pytest.raises(ValueError, match="skip_overflow is what amp does already"):
        TrainingConfig(amp=True, skip_overflow=True)


def test_incomplete_batches_are_left_out(few, capsys):
    config = TrainingConfig(epochs=1, batch_size=64, drop_last=True, opt="adam")
    steps = []
    fit(plain(), few[0], config=config, after_step=lambda: steps.append(1))
    assert len(steps) == 3  # of 200 images
    assert "3/3" in capsys.readouterr().err  # the bar is full


def test_pixels_are_standardised_by_the_mean_of_their_own_data(few):
    ours = SequentialFashionMNIST(train=False, source="embedded", standardise=True, verbose=False)
    others = SimpleNamespace(images=few[0].images, labels=few[0].labels, mean=0.5, std=0.25)
    for data, mean, std in ((ours, 0.286, 0.353), (others, 0.5, 0.25)):
        (images,), _ = prepared(data)[torch.arange(3)]
        torch.testing.assert_close(images, (data.images[:3].float() / 255 - mean) / std)
    torch.testing.assert_close(ours[0][0], prepared(ours)[torch.arange(1)][0][0][0])


@pytest.mark.parametrize("point", ["loss", "weight", "moment"])
def test_what_is_not_finite_stops_the_run(few, point, monkeypatch):
    config = TrainingConfig(epochs=2, batch_size=50, opt="adam")
    net = plain()
    if point == "loss":
        net.sn2 = nn.Identity()  # NaN reaches the rate only where no step function hides it
        net.fc2.bias.data.fill_(math.nan)
    elif point == "weight":
        net.fc1.bias.data.fill_(math.nan)
    else:
        kept = torch.optim.Adam.step

        def step(self, *given):
            kept(self, *given)
            self.state[net.fc1.weight]["exp_avg_sq"].fill_(math.inf)

        monkeypatch.setattr(torch.optim.Adam, "step", step)
    with pytest.raises(FloatingPointError, match=r"epoch 1: the loss, a weight or .* is not finite: try a"):
        fit(net, few[0], config=config)


def test_fall_of_the_test_accuracy_is_reported():
    def lines(*accuracies):
        record = dict.fromkeys(("epoch", "lr", "train_loss", "train_accuracy", "test_loss"), 0)
        return [*train.lines([record | {"test_accuracy": accuracy} for accuracy in accuracies], 9)]

    assert len(lines(0.6)) == len(lines(0.5, 0.6)) == len(lines(0.6, 0.56)) == 1
    assert "fell from 60.0% to 40.0%" in lines(0.7, 0.6, 0.4)[1]


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_value_of_an_option_is_taken_or_refused_by_name(data):
    """Whatever the type: never another exception, and what is refused is named."""
    kind = data.draw(st.sampled_from([TrainingConfig, NetworkSpec, Images]))
    fields = vars(kind())
    name = data.draw(st.sampled_from(sorted(fields)))
    value = data.draw(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.lists(st.integers())
        | st.sampled_from(["cpu", "cuda:99", "meta", "adam", "none", 2**32, 10**400, -0.0, 1 + 1j])
    )  # fmt: skip
    try:
        kind(**{name: value})
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


def test_defaults_are_those_of_the_comparison(run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert train.main(["--epochs", "1"]) == 0
    folder = tmp_path / "runs" / "plain"
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


def test_options_reach_network_optimizer_and_data(run):
    argv = (
        "--epochs 1 --model feedback --hidden 7 --detach-reset none --backend torch --momentum 0.3 --wd 0.2"
    )
    data = "--data-path somewhere --order row --standardise --source full --cache-dataset"
    state = saved(run(*argv.split(), *data.split()))
    assert state["model"]["sn1.0.rc.weight"].shape == (7, 14)
    assert (state["config"]["detach_reset"], state["config"]["backend"]) == ("none", "torch")
    (group,) = state["optimizer"]["param_groups"]
    assert (group["momentum"], group["weight_decay"]) == (0.3, 0.2)
    for part in (True, False):
        given = {"train": part, "data_path": "somewhere", "order": "row", "source": "full", "cache": True}
        assert given | {"standardise": True, "verbose": True} in run.loaded
    again, other = (run("--epochs", "1", "--seed", seed, folder=seed) for seed in "01")
    assert records(again) == records(run("--epochs", "1", folder="more")) != records(other)


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


@pytest.mark.parametrize("argv", [["-b", "0"], ["--start-epoch", "64"], ["--device", "gpu"]])
def test_bad_values_end_with_status_2_and_one_line_that_names_them(run, argv, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        train.main([*argv, "--output-dir", str(tmp_path / "run")])
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert {"-b": "batch_size"}.get(argv[0], argv[0]).lstrip("-").replace("-", "_") in error
    assert not (tmp_path / "run").exists()


def test_fused_on_the_command_line(run, monkeypatch, tmp_path, capsys):
    """It runs on the CPU where nothing else is asked for, and says in a line why it cannot."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    folder = run("--epochs", "1", "--fused")
    config = saved(folder)["config"]
    assert (config["fused"], config["device"]) == (True, "cpu")
    capsys.readouterr()
    for flags, reason in (
        (["--model", "gru"], "GatedNet has a forward other than"),
        (["--amp"], "amp computes in float16"),
    ):
        assert train.main(["--epochs", "1", "--fused", *flags, "--output-dir", str(tmp_path / "no")]) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"error: fused training is impossible: {reason}") and error.count("\n") == 1
    assert not (tmp_path / "no").exists()


def test_an_error_of_ours_keeps_its_traceback(monkeypatch):
    def broken(*args, **options):
        raise ValueError("a fault")

    monkeypatch.setattr(train, "fit", broken)
    with pytest.raises(ValueError, match="a fault"):
        train.main(["--epochs", "1", "--source", "embedded"])


def test_help_and_commands_of_the_text(capsys, monkeypatch):
    """Where there is such a GPU; where there is none, a line says so."""
    with pytest.raises(SystemExit, match="0"):
        train.main(["--h"])
    flags = {
        "data-path", "device", "batch-size", "epochs", "workers", "lr", "opt", "lrs", "step-size", "step-gamma",
        "cosa-tmax", "momentum", "wd", "weight-decay", "output-dir", "resume", "start-epoch", "cache-dataset", "amp",
        "tb", "model",
    }  # fmt: skip
    assert flags <= {*re.findall(r"--([\w-]+)", capsys.readouterr().out)}
    command = "--data-path /datasets/FashionMNIST --tb --device cuda:0 --amp --model feedback"
    argv = command.split()
    given = {"data_path": argv[1], "tb": True, "device": "cuda:0", "amp": True, "model": "feedback"}
    assert vars(train.make_parser().parse_args(argv)) == given
    with monkeypatch.context() as patch, pytest.raises(SystemExit, match="2"):
        patch.setattr(torch, "empty", lambda *size, device: (_ for _ in ()).throw(AssertionError("no CUDA")))
        train.main(argv)
    assert capsys.readouterr().err == "error: no CUDA\n"


def program(code, *argv):
    return subprocess.run(
        [sys.executable, "-c", code, *argv], env=environment(), capture_output=True, text=True
    )


def test_as_a_program(tmp_path):
    """It imports neither TensorBoard, which only --tb needs, nor torchvision, nor the packages above it."""
    code = "import sys; from sequential_fmnist import train; train.main(sys.argv[1:]); print(*sys.modules)"
    argv = ["--source", "embedded", "--epochs", "1", "-b", "1000", "--output-dir", str(tmp_path / "run")]
    done = program(code, *argv)
    assert "6,000 of 60,000 training images" in done.stdout
    line = r"epoch 1/1: lr 0\.1, train loss 0\.\d+, train accuracy \d+\.\d+%, test loss"
    assert re.search(line, done.stdout), done.stderr
    loaded = set(done.stdout.splitlines()[-1].split())
    above = {"snn_exchange", "snn_tutorial", "sequential_fmnist.experiments"}
    assert not loaded & {"tensorboard", "torchvision", *above}
    assert len(records(tmp_path / "run")) == 1


def test_a_package_that_is_missing_is_one_line():
    block = "import sys; sys.modules['tqdm'] = None"
    done = program(f"{block}\nfrom sequential_fmnist.__main__ import main\nmain()")
    assert done.returncode == 1
    assert done.stderr == "error: this needs the package tqdm: pip install 'snn-core[experiment]'\n"
