"""Numbers: what is not finite is found and not saved, the same seed gives the same bits, and memory does not grow."""

from __future__ import annotations

import itertools
import json
import math
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
import torch
from nbclient import NotebookClient
from support import ROOT, environment, require
from support_numbers import digest, live_tensors, resident_mib

from sequential_fmnist.checkpoint import load_checkpoint
from sequential_fmnist.config import TrainingConfig
from sequential_fmnist.networks import NETWORKS, make_network
from sequential_fmnist.training import Trainer, fit, rate_loss
from snn_core.functional import reset_net

pytestmark = pytest.mark.nightly

STEPS = 5  # of 40 images, in an epoch of 200


# What is not finite


class Saboteur:
    """Puts a number into one step of a run: into the loss, a gradient, or a weight."""

    def __init__(self, net: torch.nn.Module, where: str, value: float, step: int) -> None:
        self.step, self.value, self.seen = step, value, 0
        weight = net.fc2.weight
        if where == "loss":
            net.register_forward_hook(self._in_output)
        elif where == "gradient":
            weight.register_hook(self._in_gradient)
        else:
            net.register_forward_pre_hook(lambda net, inputs: self._in_weight(net, weight))

    def _now(self, net_is_training: bool = True) -> bool:
        self.seen += net_is_training
        return net_is_training and self.seen == self.step

    def _in_output(self, net, inputs, output):
        return output * self.value if self._now(net.training) else output

    def _in_gradient(self, gradient):
        return torch.full_like(gradient, self.value) if self._now() else gradient

    def _in_weight(self, net, weight):
        if self._now(net.training):
            with torch.no_grad():
                weight[0, 0] = self.value


def test_first_step_that_is_not_finite_is_named_and_nothing_of_it_is_saved(few, tmp_path, torture):
    """A number that is none, in a random step: the message names that step, and the files are those of before."""
    seed, hidden_by_spikes = 11, 0
    chance = random.Random(seed)
    kinds = [
        ("loss", math.nan),
        ("loss", math.inf),
        ("gradient", math.nan),
        ("gradient", -math.inf),
        ("weight", math.nan),
    ]
    cases = torture.count(fast=6, full=100)
    for case in range(cases):
        (where, value), model = kinds[case % len(kinds)], chance.choice(list(NETWORKS))
        step = chance.randrange(STEPS + 1, 3 * STEPS + 1)
        config = TrainingConfig(
            model=model, epochs=3, batch_size=40, opt=chance.choice(["sgd", "adam"]), lr=0.01,
            clip=chance.choice([None, 1.0]),
        )  # fmt: skip
        net, folder, lines = make_network(model), tmp_path / str(case), []
        Saboteur(net, where, value, step)
        before = {}

        def keep(line, folder=folder, before=before, lines=lines):
            lines.append(line)  # an epoch is told before it is saved
            before.update({path.name: path.read_bytes() for path in folder.glob("*")})

        epoch, in_epoch = (step - 1) // STEPS + 1, (step - 1) % STEPS + 1
        what = f"{where} {value} in step {step} of {config}"
        message = rf"^epoch {epoch}, step {in_epoch} of {STEPS}: the .* not finite"
        with pytest.raises(FloatingPointError, match=message) as caught:
            fit(config, *few, net=net, output_dir=folder, log=keep)
        hidden_by_spikes += "loss is still finite" in str(caught.value)
        assert len(lines) == epoch - 1, what
        state = load_checkpoint(folder / "latest.pt")
        assert state["epoch"] == epoch - 1, what
        assert all(tensor.isfinite().all() for tensor in state["model"].values()), what
        resumed, history = fit(config, *few, resume=folder / "latest.pt")  # and a run can resume from it
        assert len(history) == 3
        assert all(tensor.isfinite().all() for tensor in resumed.state_dict().values())
    assert hidden_by_spikes > 0
    torture.figure(
        item=6, what="NaN or infinity put into a random step: the step is named, the last good checkpoint goes on",
        cases=cases, named=cases, seen_in_weights_only=hidden_by_spikes, seed=seed,
    )  # fmt: skip


@pytest.mark.parametrize("model", NETWORKS)
def test_weights_are_looked_at_because_spikes_hide_them(few, model):
    """A membrane potential that is not a number never reaches the threshold: the loss stays finite."""
    trainer = Trainer(TrainingConfig(model=model, batch_size=40))
    Saboteur(trainer.net, "gradient", math.nan, 2)
    losses = []
    step = trainer._step
    trainer._step = lambda *batch: losses.append(step(*batch)[0]) or (losses[-1], torch.zeros(40, 10))
    with pytest.raises(
        FloatingPointError, match="step 2 of 5: the loss is still finite, but weights are not finite"
    ):
        trainer.train_epoch(few[0])
    assert torch.stack(losses).isfinite().all()


def test_a_moment_that_overflowed_is_found(few, tmp_path):
    """Adam divides by it, so that its weight would never move again, with all weights and losses finite."""
    net = make_network("plain")
    Saboteur(net, "gradient", 1e30, 7)
    with pytest.raises(FloatingPointError, match=r"^epoch 2: adam keeps numbers that are not finite"):
        fit(TrainingConfig(epochs=3, batch_size=40, opt="adam", lr=0.01), *few, net=net, output_dir=tmp_path)
    assert all(parameter.isfinite().all() for parameter in net.parameters())
    assert load_checkpoint(tmp_path / "latest.pt")["epoch"] == 1


def test_a_test_loss_that_is_not_finite_stops_the_run_before_it_is_saved(few, tmp_path):
    net, passes = make_network("plain"), []

    def hook(module, inputs, output):
        passes.append(module.training)
        return (
            output * math.inf if not module.training and True in passes[1:-1] and len(passes) > 8 else output
        )

    net.register_forward_hook(hook)
    with pytest.raises(FloatingPointError, match=r"^epoch 2: the test loss is (nan|inf)"):
        fit(TrainingConfig(epochs=3, batch_size=40), *few, net=net, output_dir=tmp_path)
    assert load_checkpoint(tmp_path / "latest.pt")["epoch"] == 1
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1


# Mixed precision: the scaler, which float16 needs and which works on the CPU too


def scaled_trainer(few, **changes) -> Trainer:
    trainer = Trainer(TrainingConfig(batch_size=40, **changes))
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    return trainer


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize("opt", ["sgd", "adam"])
def test_a_step_that_overflows_is_skipped_the_scale_halves_and_training_goes_on(few, opt, clip, value):
    trainer, weights, scales = scaled_trainer(few, opt=opt, lr=0.01, clip=clip), [], []
    Saboteur(trainer.net, "gradient", value, 3)

    def watch():
        weights.append(torch.nn.utils.parameters_to_vector(trainer.weights).detach().clone())
        scales.append(trainer.scaler.get_scale())

    first, _ = trainer.train_epoch(few[0], watch)
    assert scales == [2.0**16, 2.0**16, 2.0**15, 2.0**15, 2.0**15]
    moved = [not torch.equal(one, other) for one, other in itertools.pairwise(weights)]
    assert moved == [True, False, True, True]
    for _ in range(6):
        last, _ = trainer.train_epoch(few[0])
    assert last < first
    assert weights[-1].isfinite().all()


def test_scaled_steps_equal_unscaled_ones(few):
    """Scaling by a power of two and back changes no bit where nothing overflows."""
    scaled, plain = scaled_trainer(few, lr=0.01), Trainer(TrainingConfig(batch_size=40, lr=0.01))
    assert scaled.train_epoch(few[0]) == plain.train_epoch(few[0])
    assert digest(scaled.net) == digest(plain.net)


@pytest.fixture
def nan_in_fresh_memory() -> Iterator[None]:
    """Let torch fill with NaN what it reserves without a value, which is otherwise whatever lay there before."""
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("nan_in_fresh_memory")
@pytest.mark.parametrize("value", [math.inf, math.nan])
@pytest.mark.parametrize("opt", ["sgd", "adam"])
def test_a_first_step_that_overflows_leaves_the_moments_at_zero(few, opt, value):
    trainer, largest = scaled_trainer(few, opt=opt), []
    Saboteur(trainer.net, "gradient", value, 1)

    def watch():
        largest.append(
            max(m.abs().max().item() for s in trainer.optimizer.state.values() for m in s.values())
        )

    trainer.train_epoch(few[0], watch)
    assert largest[0] == 0
    assert 0 < largest[-1] < math.inf


@pytest.mark.usefixtures("nan_in_fresh_memory")
@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_overflow_in_every_step_is_an_error_and_not_a_run_that_learns_nothing(few, value):
    trainer = scaled_trainer(few)
    trainer.net.fc2.weight.register_hook(lambda gradient: torch.full_like(gradient, value))
    message = r"^epoch 4: the gradient overflowed in each of 5 steps.*without amp"
    with pytest.raises(FloatingPointError, match=message):
        for _ in range(4):  # 2^16 / 2^15: the search for a scale may take three
            trainer.train_epoch(few[0])


def test_overflow_in_every_step_of_a_long_epoch_is_found_in_the_first(few):
    """The scale falls to zero in between, where halving it changes nothing."""
    trainer = Trainer(TrainingConfig(batch_size=1, hidden=2))
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    trainer.net.fc2.weight.register_hook(lambda gradient: torch.full_like(gradient, math.inf))
    with pytest.raises(FloatingPointError, match=r"^epoch 1: the gradient overflowed in each of 200 steps"):
        trainer.train_epoch(few[0])


# The same seed, the same bits


def trained(
    numba_threads: int, images: int, epochs: int, threads: list[int], settings: list[dict]
) -> list[list]:
    """Train in a process of its own, which has this many threads at most; return its lines."""
    # Threads that wait do so without keeping a processor busy, which others may need.
    waiting = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
    variables = environment(NUMBA_NUM_THREADS=str(numba_threads), **waiting)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        variables.pop(name, None)
    program = [sys.executable, str(ROOT / "tests" / "support" / "support_numbers.py")]
    argument = json.dumps([images, epochs, threads, settings])
    done = subprocess.run([*program, argument], capture_output=True, text=True, env=variables)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_same_seed_same_bits_for_any_number_of_threads_and_workers(torture):
    """Weights and history, to the bit, with and without workers: torch's threads 1, 2, 4."""
    settings = [{"model": model, "batch_size": 64, "opt": "adam", "lr": 0.01} for model in NETWORKS]
    settings[0]["workers"] = [2]
    if torture.full:
        settings += [
            {"model": "feedback", "amp": True},
            {"model": "feedback", "clip": 0.1, "batch_size": 30},
            {"model": "feedback", "hidden": 100, "loss": "cross-entropy"},
            {"model": "stateful-synapse", "batch_size": 300, "lrs": "step"},
        ]
    found: dict[str, set[str]] = {}
    runs = 0
    for numba_threads in (1, 2, 4) if torture.full else (4,):
        images, epochs = torture.count(fast=150, full=2000), torture.count(fast=1, full=3)
        for setting, *_, bits in trained(numba_threads, images, epochs, [1, 2, 4], settings):
            found.setdefault(str(setting), set()).add(bits)
            runs += 1
    assert len(found) == len(settings)
    assert {setting: len(bits) for setting, bits in found.items()} == dict.fromkeys(found, 1)
    assert len(set.union(*found.values())) == len(
        settings
    )  # other settings, other bits: the digest sees them
    torture.figure(
        item=6, what="same seed, same bits: 1, 2, 4 threads", runs=runs,
        settings=len(settings), different=0,
    )  # fmt: skip


def test_where_threads_show_in_the_last_digits(embedded, torture):
    """What does not hold to the bit: the loss that is reported for over 3,276 images at once; the weights do."""
    threads = torch.get_num_threads()
    found = []
    try:
        for number in (1, 2, 4):
            torch.set_num_threads(number)
            config = TrainingConfig(epochs=2, batch_size=5000, opt="adam", lr=0.01)
            net, history = fit(config, *embedded)
            found.append((digest(net), history))
    finally:
        torch.set_num_threads(threads)
    assert len({weights for weights, _ in found}) == 1
    for _, history in found[1:]:
        for record, first in zip(history, found[0][1], strict=True):
            assert record == pytest.approx(first, rel=1e-6)
            assert record["train_accuracy"] == first["train_accuracy"]


@pytest.mark.nightly
def test_readable_loop_repeats_to_the_bit_with_the_same_threads_and_nearly_with_others(torture):
    """backend="torch": torch's matrix products sum in an order that depends on the number of threads."""
    setting = {"model": "feedback", "backend": "torch", "batch_size": 64}
    lines = trained(4, 100, 1, [1, 1, 2, 2], [setting])
    bits = [line[-1] for line in lines]
    assert bits[0] == bits[1]
    assert bits[2] == bits[3]
    gradients = []
    before = torch.get_num_threads()
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            torch.manual_seed(0)
            net = make_network("feedback", backend="torch").double()
            loss = rate_loss(net(torch.rand(64, 1, 28, 28).double()), torch.arange(64) % 10)
            gradients.append(
                torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(net.parameters()))])
            )
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)


# Memory


@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize("model", NETWORKS)
def test_memory_does_not_grow(few, model, backend, torture):
    require(Path("/proc/self/statm").exists(), "Linux, which tells how much memory a process takes")
    steps = torture.count(fast=60 if backend == "auto" else 10, full=2000)
    trainer = Trainer(TrainingConfig(model=model, batch_size=20, backend=backend, lr=0.01))
    trainer.train_epoch(few[0])  # what is kept from the first steps on: moments, compiled kernels
    tensors, memory = live_tensors(), resident_mib()
    for _ in range(steps // 10):
        trainer.train_epoch(few[0])
    assert live_tensors() == tensors
    grown = resident_mib() - memory
    assert grown < 8
    torture.figure(
        item=6, what=f"training steps that leave nothing behind, {model}, "
        + ("fused kernels" if backend == "auto" else "readable loop"),
        steps=steps, more_tensors=0, more_mib=round(max(grown, 0.0), 1),
    )  # fmt: skip


@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize("model", NETWORKS)
def test_a_forgotten_reset_fails_in_the_second_step_and_keeps_nothing_without_gradients(model, backend):
    net, images, labels = make_network(model, 8, backend), torch.rand(4, 1, 28, 28), torch.arange(4)
    rate_loss(net(images), labels).backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        rate_loss(net(images), labels).backward()
    reset_net(net)
    rate_loss(net(images), labels).backward()  # and with it all is well again
    reset_net(net)
    with torch.no_grad():
        net(images)
        tensors = live_tensors()
        for _ in range(20):
            net(images)
        assert live_tensors() == tensors


@pytest.mark.nightly
def test_a_cell_that_is_run_again_leaves_nothing_behind(torture):
    """One kernel, one cell that trains a little, run again and again as a reader does."""
    require(Path("/proc/self/statm").exists(), "Linux, which tells how much memory a process takes")
    times = torture.count(fast=4, full=20)
    first = nbformat.v4.new_code_cell(
        "import os\nos.environ['TQDM_DISABLE'] = '1'\n"
        "from support_numbers import few_images, live_tensors, resident_mib\n"
        "from sequential_fmnist.training import TrainingConfig, evaluate, fit\n"
        "train, test = few_images(200)"
    )
    cell = nbformat.v4.new_code_cell(
        "net, history = fit(TrainingConfig(model='feedback', epochs=2, batch_size=20), train, test)\n"
        "accuracy = evaluate(net, test)[1]\n"
        "print(f'{resident_mib():.2f} {live_tensors()}')"
    )
    notebook = nbformat.v4.new_notebook(cells=[first, cell])
    client = NotebookClient(notebook, timeout=600, kernel_name="python3")
    lines = []
    with client.setup_kernel(env=environment()):
        client.execute_cell(first, 0)
        for _ in range(times):
            client.execute_cell(cell, 1)
            lines.append(re.search(r"([\d.]+) (\d+)", cell.outputs[-1].text).groups())
    memory, tensors = ([float(line[part]) for line in lines] for part in (0, 1))
    assert len(set(tensors[1:])) == 1, tensors
    assert memory[-1] - memory[1] < 8, memory
    torture.figure(
        item=6, what="one cell of a notebook that trains, run again and again in one kernel", runs=times,
        more_tensors=0, more_mib=round(max(memory[-1] - memory[1], 0.0), 1),
    )  # fmt: skip
