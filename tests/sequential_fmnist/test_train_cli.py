"""Every flag of the command line, by its effect."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys

import pytest
import torch
from support import records, require, visible
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sequential_fmnist import batches, train, trainer, training
from sequential_fmnist.networks import NETWORKS, PlainNet
from sequential_fmnist.sources import DEBIAN_FOLDER, cache_dir


@pytest.fixture
def run(few, monkeypatch, tmp_path):
    """Run the command line on a few real images and return the folder of the run."""

    def load(*args, train=True, **options):
        loaded.append({"train": train, "data_path": args[0]} | options)
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
    assert config == json.loads((folder / "config.json").read_text())
    assert visible(folder) == ["best.pt", "config.json", "latest.pt", "metrics.jsonl"]


@pytest.mark.parametrize("flag", ["-b", "--batch-size"])
def test_batch_size_decides_the_number_of_steps(run, flag):
    folder = run("--epochs", "1", "--opt", "adam", flag, "30")
    assert saved(folder)["optimizer"]["state"][0]["step"].item() == 7  # 200 images


def test_epochs(run):
    assert [record["epoch"] for record in records(run("--epochs", "3"))] == [0, 1, 2]


@pytest.mark.parametrize("flag", ["-j", "--workers"])
def test_workers_use_a_data_loader_and_change_nothing_but_the_rounding(run, monkeypatch, flag):
    seen = []

    class Spy(batches.DataLoader):
        def __init__(self, *args, num_workers, **options):
            seen.append(num_workers)
            super().__init__(*args, num_workers=num_workers, **options)

    monkeypatch.setattr(batches, "DataLoader", Spy)
    without = run("--epochs", "2", "-b", "64", folder="without")
    assert seen == []
    with_workers = run("--epochs", "2", "-b", "64", flag, "2", folder="with")
    assert seen == [2, 2]
    for record, other in zip(records(with_workers), records(without), strict=True):
        assert record == pytest.approx(other, rel=1e-3)


def test_lr(run):
    folder = run("--epochs", "1", "--lr", "0.03")
    assert lrs(folder) == [0.03]


@pytest.mark.parametrize(("opt", "state"), [("sgd", "momentum_buffer"), ("adam", "exp_avg_sq")])
def test_opt(run, opt, state):
    assert state in saved(run("--epochs", "1", "--opt", opt))["optimizer"]["state"][0]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--lrs", "none"], [0.1, 0.1, 0.1, 0.1]),
        (["--lrs", "None"], [0.1, 0.1, 0.1, 0.1]),
        (["--lrs", "cosa"], [0.1, 0.0853553, 0.05, 0.0146447]),  # 0.05 (1 + cos(pi e / 4))
        (["--lrs", "cosa", "--cosa-tmax", "2"], [0.1, 0.05, 0.0, 0.05]),
        (["--lrs", "step", "--step-size", "2"], [0.1, 0.1, 0.01, 0.01]),
        (["--lrs", "step", "--step-size", "1", "--step-gamma", "0.5"], [0.1, 0.05, 0.025, 0.0125]),
    ],
)
def test_schedules(run, flags, expected):
    assert lrs(run("--epochs", "4", *flags)) == pytest.approx(expected, abs=1e-7)


def test_momentum(run):
    with_momentum, without = run("--epochs", "2"), run("--epochs", "2", "--momentum", "0", folder="without")
    assert saved(without)["optimizer"]["param_groups"][0]["momentum"] == 0
    assert records(with_momentum)[0] != records(without)[1]


@pytest.mark.parametrize("flag", ["--wd", "--weight-decay"])
def test_weight_decay_shrinks_the_weights(run, flag):
    plain = saved(run("--epochs", "2", "-b", "20"))["model"]
    decayed = saved(run("--epochs", "2", "-b", "20", flag, "0.1", folder="decayed"))["model"]
    assert decayed["fc1.weight"].norm() < 0.9 * plain["fc1.weight"].norm()


def test_loss_decides_what_is_minimised(run):
    rates, logits = run("--epochs", "1"), run("--epochs", "1", "--loss", "cross-entropy", folder="logits")
    assert records(rates)[0]["train_loss"] < 0.5  # rates lie in [0, 1]
    assert records(logits)[0]["train_loss"] == pytest.approx(math.log(10), abs=0.3)
    assert records(logits)[0]["test_loss"] == pytest.approx(math.log(10), abs=0.3)


def test_clip_limits_how_far_a_step_goes(run):
    """One step of plain SGD moves the weights by lr times the gradient, whose norm is at most the limit."""
    flags = ["--epochs", "1", "-b", "200", "--momentum", "0", "--lr", "1", "--lrs", "none"]
    torch.manual_seed(0)
    start = PlainNet().state_dict()

    def moved(folder):
        after = saved(folder)["model"]
        return torch.cat([(after[name] - start[name]).flatten() for name in start]).norm().item()

    free = moved(run(*flags))
    assert free > 0.01
    assert moved(run(*flags, "--clip", "0.005", folder="clipped")) == pytest.approx(0.005, rel=1e-3)
    assert moved(run(*flags, "--clip", "100", folder="loose")) == pytest.approx(free, rel=1e-6)


def test_output_dir_defaults_to_runs_and_the_model(run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert train.main(["--epochs", "1", "--model", "feedback"]) == 0
    assert (tmp_path / "runs" / "feedback" / "latest.pt").exists()


def test_an_earlier_run_is_not_lost(run, tmp_path, capsys):
    folder = run("--epochs", "1")
    before = records(folder)
    with pytest.raises(SystemExit) as exit_:
        train.main(["--epochs", "2", "--output-dir", str(folder)])
    assert exit_.value.code == 2
    assert re.search(r"already holds a run: add --resume .*latest\.pt", capsys.readouterr().err)
    assert records(folder) == before
    run("--epochs", "2", "--overwrite")
    assert len(records(folder)) == 2


def test_resume_continues_in_the_same_folder(run):
    whole = run("--epochs", "3", "--cosa-tmax", "3", folder="whole")
    folder = run("--epochs", "1", "--cosa-tmax", "3")
    argv = ["--epochs", "3", "--cosa-tmax", "3", "--resume", str(folder / "latest.pt")]
    assert train.main(argv) == 0
    assert records(folder) == records(whole)


@pytest.mark.parametrize("tmax", [[], ["--cosa-tmax", "4"]], ids=["T_max is the epochs", "T_max is given"])
@pytest.mark.parametrize("before", [[], ["--cosa-tmax", "2"]])
def test_resume_with_more_epochs_continues_on_the_longer_cosine(run, capsys, before, tmax):
    """The rates after the resumption are those of a run that had the longer cosine from the beginning."""
    whole = run("--epochs", "4", folder="whole")
    folder = run("--epochs", "2", *before)
    assert lrs(folder) == pytest.approx([0.1, 0.05])
    capsys.readouterr()
    assert train.main(["--epochs", "4", *tmax, "--resume", str(folder / "latest.pt")]) == 0
    assert lrs(folder)[:2] == pytest.approx([0.1, 0.05])
    assert lrs(folder)[2:] == lrs(whole)[2:] == pytest.approx([0.05, 0.0146447], abs=1e-7)
    said = "resuming after epoch 2 of 4 with learning rate 0.0500, on a cosine with T_max 4 (it was 2)"
    assert capsys.readouterr().out.splitlines().count(said) == 1


def test_a_length_of_the_cosine_that_was_chosen_outlives_the_resumption(run, capsys):
    """Here one epoch: the rate is 0 after it, and rises again, as it was asked."""
    folder = run("--epochs", "2", "--cosa-tmax", "1")
    for epochs in (3, 4):
        assert train.main(["--epochs", str(epochs), "--resume", str(folder / "latest.pt")]) == 0
    assert lrs(folder) == pytest.approx([0.1, 0, 0.1, 0])
    assert "of 4 with learning rate 0.0000, on a cosine with T_max 1\n" in capsys.readouterr().out
    assert train.main(["--epochs", "8", "--cosa-tmax", "8", "--resume", str(folder / "latest.pt")]) == 0
    expected = [0.05 * (1 + math.cos(math.pi * epoch / 8)) for epoch in range(4, 8)]
    assert lrs(folder)[4:] == pytest.approx(expected, abs=1e-9)


def test_resume_with_more_epochs_keeps_the_other_schedules(run, capsys):
    whole = run("--epochs", "4", "--lrs", "step", "--step-size", "1", folder="whole")
    folder = run("--epochs", "2", "--lrs", "step", "--step-size", "1")
    capsys.readouterr()
    assert train.main(["--epochs", "4", "--lrs", "step", "--resume", str(folder / "latest.pt")]) == 0
    assert lrs(folder) == lrs(whole)
    assert "resuming" not in capsys.readouterr().out


def test_start_epoch(run):
    folder = run("--epochs", "4", "--start-epoch", "2")
    assert [record["epoch"] for record in records(folder)] == [2, 3]
    assert lrs(folder) == pytest.approx([0.05, 0.0146447], abs=1e-7)


def test_amp_is_reduced_precision(run):
    full, reduced = run("--epochs", "1"), run("--epochs", "1", "--amp", folder="amp")
    loss, amp_loss = records(full)[0]["train_loss"], records(reduced)[0]["train_loss"]
    assert loss != amp_loss
    assert amp_loss == pytest.approx(loss, rel=0.05)


def test_tb_writes_every_scalar_of_every_epoch_once_even_after_resume(run):
    folder = run("--epochs", "2", "--tb")
    argv = ["--epochs", "3", "--tb", "--resume", str(folder / "latest.pt")]
    assert train.main(argv) == 0
    events = EventAccumulator(str(folder / "tb"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == set(records(folder)[0]) - {"epoch"}
    accuracy = [(event.step, event.value) for event in events.Scalars("test_accuracy")]
    assert accuracy == [(r["epoch"], pytest.approx(r["test_accuracy"])) for r in records(folder)]


def test_run_that_replaces_another_begins_its_tensorboard_log_anew(run, caplog):
    for _ in range(2):
        folder = run("--epochs", "1", "--tb", "--overwrite")
    assert len(list((folder / "tb").iterdir())) == 1
    assert len(EventAccumulator(str(folder / "tb")).Reload().Scalars("test_accuracy")) == 1
    assert caplog.records == []


def test_without_tb_there_is_no_folder_for_it(run):
    assert not (run("--epochs", "1") / "tb").exists()


@pytest.mark.parametrize("model", NETWORKS)
def test_model_and_hidden(run, model):
    weights = saved(run("--epochs", "1", "--model", model, "--hidden", "7"))["model"]
    assert weights["fc1.weight"].shape == (7, 28)
    assert ("sy1.0.w" in weights) == (model == "stateful-synapse")
    assert ("sn1.0.rc.weight" in weights) == (model == "feedback")


def test_backend_reaches_the_neurons(run, monkeypatch):
    seen = []
    make = trainer.make_network

    def spy(*args):
        seen.append(make(*args).sn1.backend)
        return make(*args)

    monkeypatch.setattr(trainer, "make_network", spy)
    run("--epochs", "1", "--backend", "torch")
    assert seen == ["torch"]


def test_seed_decides_everything(run):
    zero, again = run("--epochs", "1"), run("--epochs", "1", "--seed", "0", folder="again")
    other = run("--epochs", "1", "--seed", "1", folder="other")
    assert records(zero) == records(again)
    assert records(zero) != records(other)


def test_flags_of_the_data_reach_the_data(run):
    run("--epochs", "1", "--data-path", "somewhere", "--order", "row", "--source", "full", "--cache-dataset")
    expected = {
        "data_path": "somewhere",
        "order": "row",
        "source": "full",
        "cache": True,
        "verbose": True,
    }
    assert run.loaded == [{"train": True} | expected, {"train": False} | expected]


def test_data_path_and_cache_dataset_on_real_files(tmp_path, capsys):
    require(DEBIAN_FOLDER.exists(), "Debian's package dataset-fashion-mnist")
    argv = ["--data-path", str(DEBIAN_FOLDER), "--cache-dataset", "--epochs", "1", "-b", "10000"]
    assert train.main([*argv, "--output-dir", str(tmp_path / "run")]) == 0
    assert str(DEBIAN_FOLDER) in capsys.readouterr().out
    assert len([path for path in cache_dir().iterdir() if not path.name.startswith(".")]) == 4


def test_wrong_data_path_ends_with_one_line(tmp_path, capsys):
    assert train.main(["--data-path", str(tmp_path / "nowhere"), "--output-dir", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert "nowhere" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_threads(run):
    before = torch.get_num_threads()
    try:
        run("--epochs", "1", "--threads", "2")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_device_that_is_not_there_is_refused(capsys):
    device = f"cuda:{torch.cuda.device_count()}"
    for wrong in (device, "meta", "gpu"):
        with pytest.raises(SystemExit) as exit_:
            train.main(["--device", wrong])
        assert exit_.value.code == 2
        assert f"argument --device: {wrong} cannot be used here" in capsys.readouterr().err


def test_device_cpu(run):
    assert saved(run("--epochs", "1", "--device", "cpu"))["config"]["device"] == "cpu"


@pytest.mark.parametrize(
    "argv",
    [
        ["--epochs", "0"], ["--epochs", "1.5"], ["-b", "0"], ["-j", "-1"], ["--lr", "0"], ["--lr", "nan"],
        ["--lr", "x"], ["--opt", "rmsprop"],
        ["--lrs", "linear"], ["--step-size", "0"], ["--step-gamma", "0"], ["--cosa-tmax", "0"],
        ["--momentum", "-1"], ["--momentum", "1"], ["--wd", "-1"], ["--start-epoch", "-1"], ["--model", "lstm"],
        ["--hidden", "0"], ["--backend", "fast"], ["--seed", "-1"], ["--order", "spiral"], ["--source", "web"],
        ["--threads", "0"], ["--hid", "3"], ["--start-epoch", "64"],
    ],
)  # fmt: skip
def test_bad_arguments_end_with_status_2_and_one_line_that_names_them(run, argv, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        train.main([*argv, "--output-dir", str(tmp_path / "run")])
    error = capsys.readouterr().err
    assert exit_.value.code == 2
    assert error.count("\n") == 1
    named = {"--wd": "--weight-decay", "-b": "--batch-size", "-j": "--workers"}
    name = named.get(argv[0], argv[0]).lstrip("-")
    assert re.search(name.replace("-", "[-_]"), error) or (
        argv == ["--start-epoch", "64"] and "epochs" in error
    )
    assert not (tmp_path / "run").exists()


def test_bad_checkpoint_ends_with_status_1_and_one_line(run, tmp_path, capsys):
    (tmp_path / "broken.pt").write_bytes(b"not a checkpoint")
    assert train.main(["--resume", str(tmp_path / "broken.pt")]) == 1
    error = capsys.readouterr().err
    assert "broken.pt is damaged" in error
    assert error.count("\n") == 1


USAGE = """
[-h] [--data-path DATA_PATH] [--device DEVICE] [-b BATCH_SIZE] [--epochs N] [-j N]
                                 [--lr LR] [--opt OPT] [--lrs LRS] [--step-size STEP_SIZE] [--step-gamma STEP_GAMMA]
                                 [--cosa-tmax COSA_TMAX] [--momentum M] [--wd W] [--output-dir OUTPUT_DIR]
                                 [--resume RESUME] [--start-epoch N] [--cache-dataset] [--amp] [--tb] [--model MODEL]
"""
LISTED = """
  -h, --help            show this help message and exit
  --data-path DATA_PATH
  --device DEVICE       device
  -b BATCH_SIZE, --batch-size BATCH_SIZE
  --epochs N            number of total epochs to run
  -j N, --workers N     number of data loading workers
  --lr LR               initial learning rate
  --opt OPT             optimizer (sgd or adam)
  --lrs LRS             lr schedule (cosa(CosineAnnealingLR), step(StepLR)) or None
  --step-size STEP_SIZE step_size for StepLR
  --step-gamma STEP_GAMMA gamma for StepLR
  --cosa-tmax COSA_TMAX T_max for CosineAnnealingLR. If none, it will be set to epochs
  --momentum M          Momentum for SGD
  --wd W, --weight-decay W weight decay
  --output-dir OUTPUT_DIR path where to save
  --resume RESUME       resume from checkpoint
  --start-epoch N       start epoch
  --cache-dataset       Cache the datasets for quicker initialization
  --amp                 Use AMP training
  --tb                  Use TensorBoard to record logs
  --model MODEL         "plain", "feedback", or "stateful-synapse"
"""


@pytest.mark.parametrize("flag", ["--h", "--help", "-h"])
def test_help_begins_with_the_usage_of_the_text(capsys, monkeypatch, flag):
    """Its flags, metavars and order, and what it says of each; flags of our own come after them."""
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit, match="0"):
        train.main([flag])
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.startswith(f"usage: python -m sequential_fmnist {' '.join(USAGE.split())} [--hidden HIDDEN]")
    for line in LISTED.strip().splitlines():
        start = shown.index("options:")
        assert " ".join(line.split()) in shown[start : shown.index("beyond the tutorial's text:")]


@pytest.mark.parametrize("model", NETWORKS)
def test_the_commands_of_the_text(capsys, monkeypatch, model):
    """Where there is such a GPU; where there is none, a line names it."""
    argv = f"--data-path /datasets/FashionMNIST --tb --device cuda:0 --amp --model {model}".split()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with monkeypatch.context() as patch, pytest.raises(SystemExit, match="2"):
        patch.setattr(torch, "empty", lambda *size, device: (_ for _ in ()).throw(AssertionError("no CUDA")))
        train.main(argv)
    assert capsys.readouterr().err == (
        "python -m sequential_fmnist: error: argument --device: cuda:0 cannot be used here (no CUDA); try cpu "
        "(--help lists all arguments)\n"
    )
    monkeypatch.setattr(torch, "empty", lambda *size, device: None)
    args = train.make_parser().parse_args(argv)
    given = (args.data_path, args.tb, args.device, args.amp, args.model)
    assert given == ("/datasets/FashionMNIST", True, "cuda:0", True, model)


def test_unambiguous_prefixes_of_the_flags_of_the_text_are_taken():
    args = train.make_parser().parse_args(["--ep", "3", "--mod=feedback", "--step-s", "5", "--out", "here"])
    assert (args.epochs, args.model, args.step_size, str(args.output_dir)) == (3, "feedback", 5, "here")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--step", "3"], "ambiguous option: --step could match --step-size, --step-gamma"),
        (["--see", "3"], "unrecognized arguments: --see 3"),
    ],
)
def test_other_prefixes_are_refused(capsys, argv, said):
    with pytest.raises(SystemExit, match="2"):
        train.main(argv)
    assert said in capsys.readouterr().err


def test_tensorboard_is_imported_with_tb_only(tmp_path):
    """Nor anything of the floors above."""
    code = "import sys; from sequential_fmnist import train; train.main(sys.argv[1:]); print(*sys.modules)"
    argv = ["--source", "embedded", "--epochs", "1", "-b", "1000", "--output-dir", str(tmp_path / "run")]
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert "sequential_fmnist" in loaded
    assert not loaded & {"tensorboard", "snn_exchange", "snn_tutorial", "experiments"}


def test_tb_without_tensorboard_ends_with_one_line(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="2"):
        train.main(["--tb", "--output-dir", str(tmp_path / "run")])
    assert "tensorboard is not installed: pip install tensorboard" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_as_a_program(tmp_path):
    argv = [sys.executable, "-m", "sequential_fmnist", "--source", "embedded", "--epochs", "1", "-b", "1000"]
    done = subprocess.run(
        [*argv, "--output-dir", tmp_path / "run"], capture_output=True, text=True, check=True
    )
    assert "6,000 of 60,000 training images" in done.stdout
    assert re.search(r"epoch +1/1 +lr 0\.1000 +train loss 0\.\d+ accuracy +\d+\.\d+%", done.stdout)
    assert len(records(tmp_path / "run")) == 1
