from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from support import records

from sequential_fmnist import trainer as trainer_module
from sequential_fmnist.batches import on_device
from sequential_fmnist.config import TrainingConfig
from sequential_fmnist.networks import NETWORKS, NetworkSpec, PlainNet, build
from sequential_fmnist.training import Trainer, evaluate, fit, predict, rate_loss, set_seed
from snn_core.functional import reset_net, states


def test_rate_loss_by_hand():
    rate = torch.tensor([[0.5, 0.25], [0.0, 1.0]])
    # ((0.5 - 1)^2 + 0.25^2 + 0^2 + 0^2) / 4
    assert rate_loss(rate, torch.tensor([0, 1])).item() == pytest.approx((0.25 + 0.0625) / 4)


def test_predict_is_the_class_that_fires_most_and_agrees_with_evaluate(few):
    _, test = few
    net = PlainNet()
    guesses = predict(net, test, batch_size=33)
    with torch.no_grad():
        expected = net(test.images.float() / 255).argmax(1)
    assert torch.equal(guesses, expected)
    reset_net(net)
    assert evaluate(net, test)[1] == pytest.approx((guesses == test.labels).double().mean().item())


def test_evaluate_is_the_plain_computation(few):
    _, test = few
    net = PlainNet()
    rate = net(test.images.float() / 255).detach()
    reset_net(net)
    loss, accuracy = evaluate(net, test, batch_size=33)
    assert accuracy == (rate.argmax(1) == test.labels).sum().item() / 100
    assert loss == pytest.approx(F.mse_loss(rate, F.one_hot(test.labels, 10).float()).item(), rel=1e-6)
    assert net.training


def test_one_epoch_is_plain_sgd_over_the_permutation(few):
    train, test = few
    config = TrainingConfig(epochs=1, batch_size=64, lrs="none", seed=5)
    net, history = fit(config, train, test)

    set_seed(5)
    by_hand = PlainNet()
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1, momentum=0.9)
    loss_sum = hits = 0.0
    order = torch.randperm(200, generator=torch.Generator().manual_seed(5))
    for part in order.split(64):
        by_hand.sn1.reset(), by_hand.sn2.reset()
        rate = by_hand(train.images[part].float() / 255)
        loss = F.mse_loss(rate, F.one_hot(train.labels[part], 10).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(part)
        hits += (rate.argmax(1) == train.labels[part]).sum().item()
    for ours, theirs in zip(net.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)  # the fused optimizer rounds in another order
    assert history[0]["train_loss"] == pytest.approx(loss_sum / 200, rel=1e-6)
    assert history[0]["train_accuracy"] == hits / 200


@pytest.mark.parametrize("amp", [False, True])
@pytest.mark.parametrize("model", NETWORKS)
def test_each_network_learns_a_few_images(few, model, amp):
    train, _ = few
    config = TrainingConfig(model=model, epochs=14, batch_size=50, opt="adam", lr=0.02, amp=amp)
    _, history = fit(config, train, train)
    assert history[-1]["train_loss"] < 0.75 * history[0]["train_loss"]
    assert history[-1]["test_accuracy"] > 0.5


@pytest.mark.parametrize(
    ("opt", "lrs", "amp"), [("sgd", "cosa", False), ("adam", "step", True), ("sgd", "none", False)]
)
def test_resume_is_exact_to_the_bit(few, tmp_path, opt, lrs, amp):
    config = TrainingConfig(model="feedback", epochs=4, batch_size=64, opt=opt, lrs=lrs, amp=amp, step_size=1)
    whole, history = fit(config, *few, output_dir=tmp_path / "whole")

    trainer = _InterruptedRun(config, few, tmp_path / "parts", epochs=2)
    resumed, resumed_history = fit(config, *few, output_dir=tmp_path / "parts", resume=trainer.checkpoint)

    assert resumed_history == history
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    assert records(tmp_path / "parts") == records(tmp_path / "whole")


class _InterruptedRun:
    """A run that is interrupted from outside after some epochs, in the middle of the next one."""

    def __init__(self, config, data, folder, epochs):
        lines = []

        def stop(line):
            lines.append(line)
            if len(lines) == epochs + 1:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fit(config, *data, output_dir=folder, log=stop)
        self.checkpoint = folder / "latest.pt"
        assert len(records(folder)) == epochs


def test_best_checkpoint_is_the_first_epoch_with_the_highest_accuracy(few, tmp_path):
    _, history = fit(TrainingConfig(epochs=5, batch_size=20), *few, output_dir=tmp_path)
    accuracies = [record["test_accuracy"] for record in history]
    best = torch.load(tmp_path / "best.pt", weights_only=True)
    assert best["epoch"] - 1 == accuracies.index(max(accuracies))
    assert torch.load(tmp_path / "latest.pt", weights_only=True)["epoch"] == 5


def test_training_does_not_touch_the_data(few):
    train, test = few
    before = train.images.clone(), test.images.clone()
    fit(TrainingConfig(epochs=1), train, test)
    assert torch.equal(train.images, before[0])
    assert torch.equal(test.images, before[1])


def test_amp_runs_linear_layers_in_bfloat16(few):
    trainer = Trainer(TrainingConfig(amp=True))
    seen = []
    trainer.net.fc1.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    trainer.train_epoch(few[0])
    assert set(seen) == {torch.bfloat16}
    assert all(p.dtype == torch.float32 for p in trainer.net.parameters())


def test_loss_that_is_not_finite_stops_the_run(few, tmp_path):
    trainer = Trainer(TrainingConfig())
    with torch.no_grad():
        trainer.net.fc2.bias.fill_(math.nan)
    trainer.net.sn2 = torch.nn.Identity()  # NaN reaches the rate only where no step function hides it
    with pytest.raises(
        FloatingPointError, match=r"epoch 1, step 1 of 1: the training loss is not finite \(loss nan\)"
    ):
        trainer.train_epoch(few[0])


def test_checkpoint_of_another_run_is_refused(few, tmp_path):
    fit(TrainingConfig(epochs=1), *few, output_dir=tmp_path)
    for change in (
        {"model": "feedback"},
        {"hidden": 16},
        {"order": "row"},
        {"opt": "adam"},
        {"lrs": "none"},
        {"seed": 1},
    ):
        config = TrainingConfig(**{"epochs": 2} | change)
        ((name, value),) = change.items()
        with pytest.raises(ValueError, match=f"made with {name}=.*, this run has {name}={value}"):
            fit(config, *few, resume=tmp_path / "latest.pt")


def test_fewer_epochs_than_are_done_is_an_error(few, tmp_path):
    fit(TrainingConfig(epochs=2), *few, output_dir=tmp_path)
    with pytest.raises(ValueError, match="epochs must be at least the 2 already done, got 1"):
        fit(TrainingConfig(epochs=1), *few, resume=tmp_path / "latest.pt")
    with pytest.raises(ValueError, match=r"start_epoch must be 2, where .* ended, got 3"):
        fit(TrainingConfig(epochs=5), *few, resume=tmp_path / "latest.pt", start_epoch=3)
    with pytest.raises(ValueError, match="start_epoch must be below the 2 epochs, got 2"):
        fit(TrainingConfig(epochs=2), *few, start_epoch=2)


def test_a_finished_run_gives_its_result_once_more(few, tmp_path):
    net, history = fit(TrainingConfig(epochs=2), *few, output_dir=tmp_path)
    lines = []
    again, same = fit(
        TrainingConfig(epochs=2), *few, output_dir=tmp_path, resume=tmp_path / "latest.pt", log=lines.append
    )
    assert same == history == records(tmp_path)
    for name, weight in net.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight)
    assert len(lines) == 1
    assert lines[0].startswith("nothing left to train: ")


def test_resume_true_goes_on_if_there_is_something_to_go_on_from(few, tmp_path):
    with pytest.raises(ValueError, match="resume=True needs an output_dir"):
        fit(TrainingConfig(epochs=1), *few, resume=True)
    config = TrainingConfig(epochs=1, lrs="none")
    assert len(fit(config, *few, output_dir=tmp_path, resume=True)[1]) == 1
    longer = TrainingConfig(epochs=3, lrs="none")
    _, history = fit(longer, *few, output_dir=tmp_path, resume=True)
    assert history == fit(longer, *few)[1]


def test_stop_is_asked_once_an_epoch_is_saved(few, tmp_path):
    _, history = fit(
        TrainingConfig(epochs=5), *few, output_dir=tmp_path, stop=lambda: len(records(tmp_path)) == 2
    )
    assert records(tmp_path) == history
    assert len(history) == 2


def test_tensorboard_needs_a_folder(few):
    with pytest.raises(ValueError, match="tensorboard needs an output_dir"):
        fit(TrainingConfig(epochs=1), *few, tensorboard=True)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "plane"), ("opt", "rmsprop"), ("lrs", "cosine"), ("order", "diagonal"), ("backend", "fast"),
        ("hidden", 0), ("epochs", 0), ("batch_size", 0), ("step_size", 0), ("cosa_tmax", 0), ("workers", -1),
        ("seed", -1), ("lr", 0.0), ("lr", math.nan), ("step_gamma", -1.0), ("momentum", 1.0), ("momentum", -0.1),
        ("weight_decay", -1e-4), ("weight_decay", math.inf),
    ],
)  # fmt: skip
def test_config_names_the_field_that_is_wrong(field, value):
    with pytest.raises(ValueError, match=f"^{field} must"):
        TrainingConfig(**{field: value})


class Subclass(PlainNet):
    """Another forward than the one that ``chain`` speaks of."""

    def forward(self, images):
        return super().forward(images)


def with_hook() -> PlainNet:
    net = PlainNet()
    net.register_forward_hook(lambda module, inputs, output: None)
    return net


@pytest.mark.parametrize(
    ("make", "at_once"),
    [
        (PlainNet, [1, 2]),  # of 200 images in batches of 60, and then the rest
        (Subclass, []),
        (with_hook, []),
        (lambda: build(NetworkSpec("plain", batch_norm=True)), []),
        (lambda: build(NetworkSpec("plain", standardised=True)), []),
    ],
    ids=["plain", "subclass", "hook", "batch normalisation", "standardised"],
)
def test_steps_at_once_are_those_one_by_one(few, make, at_once, monkeypatch):
    """And only a network that does the same every time is taken through several of them."""
    several: list[int] = []

    def train_steps(*given):
        several.append(len(given[5]))
        return real(*given)

    real = trainer_module.train_steps
    monkeypatch.setattr(trainer_module, "train_steps", train_steps)
    weights, found = [], []
    for after_step in (None, lambda: None):
        set_seed(0)
        trainer = Trainer(TrainingConfig(epochs=1, batch_size=60, opt="adam"), net=make())
        found.append(trainer.train_epoch(on_device(few[0], "cpu", workers=0), after_step))
        weights.append(trainer.net.state_dict())
    assert several == at_once
    assert found[0] == pytest.approx(found[1], rel=1e-6)
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-4, atol=1e-5)


def test_all_images_at_once_are_worth_what_batches_are(few):
    net = build(NetworkSpec("feedback", last=7))
    at_once = evaluate(net, on_device(few[1], "cpu", workers=0), batch_size=30)
    loss, accuracy = evaluate(net, few[1], batch_size=30)
    assert at_once == (pytest.approx(loss, rel=1e-6), accuracy)
    assert torch.equal(predict(net, on_device(few[1], "cpu", workers=0)), predict(net, few[1]))
    assert states(net) == {}
