"""A run that is killed, stopped or interrupted at any moment is resumed to the result of one that nothing disturbed."""

from __future__ import annotations

import json
import os
import queue
import random
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from jupyter_client.manager import KernelManager
from support import ROOT, records
from support_kills import CLI, Command, Strike, assert_same_run, command_line, draw

from sequential_fmnist.config import TrainingConfig
from sequential_fmnist.networks import NETWORKS
from sequential_fmnist.stopping import Stop
from sequential_fmnist.training import fit

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(os.name != "posix", reason="signals and fork as in POSIX"),
]
SEED = 20
KILLED = -signal.SIGKILL


class Undisturbed:
    """What a run of one network gives when nothing disturbs it, how long it takes, and how often it does what."""

    def __init__(self, model: str, folder: Path) -> None:
        self.argv = [*CLI, "--model", model]
        self.folder = folder / "run"
        started = time.monotonic()
        status = command_line()(
            [*self.argv, "--output-dir", self.folder], folder / "output", calls=folder / "calls.json"
        )
        self.seconds = time.monotonic() - started
        assert status == 0, (folder / "output").read_text()
        self.calls: dict[str, int] = json.loads((folder / "calls.json").read_text())


@pytest.fixture(autouse=True)
def _ctrl_c():
    """Ctrl-C reaches Python, even where a shell started the tests in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def command() -> Command:
    return command_line()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Return the undisturbed run of a network by its name; each runs once."""
    runs = {}

    def get(model: str) -> Undisturbed:
        if model not in runs:
            runs[model] = Undisturbed(model, tmp_path_factory.mktemp(model))
        return runs[model]

    return get


def next_command(argv: list[object], folder: Path) -> list[object]:
    """Return what a user gives next: the same command, with --resume once there is a checkpoint."""
    latest = folder / "latest.pt"
    return [*argv, "--output-dir", folder, *(["--resume", latest] if latest.exists() else [])]


@pytest.mark.parametrize("model", NETWORKS)
def test_killed_runs_resume_to_the_same_bits(command, undisturbed, torture, tmp_path, model):
    whole = undisturbed(model)
    kills, seed = torture.count(fast=3, full=50), f"{SEED} {model}"
    random_, struck, at, runs = random.Random(seed), 0, Counter(), 0
    while struck < kills:
        folder, output, said = tmp_path / f"run {runs}", tmp_path / f"output {runs}", []
        status = KILLED
        for attempt in range(4):  # up to three kills of one run, and the last attempt is left alone
            argv = next_command(whole.argv, folder)
            to_come = 1 - len(records(folder)) / 5 if (folder / "metrics.jsonl").exists() else 1.0
            if attempt == 3 or struck == kills:
                status = command(argv, output)
            elif struck and random_.random() < 0.3:
                process = command.start(argv, output)
                process.join(random_.uniform(0, to_come * whole.seconds))
                process.kill()
                process.join()
                status, moment = process.exitcode, "any time"
            else:
                # The first one where it would hurt most; the others by chance.
                strike = draw(random_, whole.calls, to_come) if struck else Strike("half of latest.pt", 2)
                status, moment = command(argv, output, strike=strike), strike.point
            said.append(status)
            if status != KILLED:
                break
            struck += 1
            at[moment] += 1
        assert status == 0, (seed, runs, said, output.read_text())
        assert_same_run(folder, whole.folder)
        runs += 1
        assert runs < 3 * kills, f"{seed}: only {struck} of {runs} runs were killed"
    torture.figure(
        item=1,
        what=f"SIGKILL at random moments and --resume: the result is that of an undisturbed run, {model}",
        kills=struck,
        runs=runs,
        moments=dict(sorted(at.items())),
        differences=0,
        seed=seed,
    )


def python(*argv: object, **options: object) -> subprocess.Popen[str]:
    """Start the command line as a user does."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", "sequential_fmnist", *map(str, argv)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def test_killed_command_lines_resume_to_the_same_bits(undisturbed, torture, tmp_path):
    """As above, started as a user does."""
    whole = undisturbed("feedback")
    kills = torture.count(fast=1, full=8)
    random_, started = random.Random(SEED), time.monotonic()
    process = python(*whole.argv, "--output-dir", tmp_path / "run")
    while not re.match("epoch +3/5", process.stdout.readline()):
        assert process.poll() is None
    process.kill()
    process.communicate()
    seconds = time.monotonic() - started
    for _ in range(kills - 1):
        process = python(*next_command(whole.argv, tmp_path / "run"))
        try:
            process.communicate(timeout=random_.uniform(0, seconds))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    process = python(*next_command(whole.argv, tmp_path / "run"))
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert_same_run(tmp_path / "run", whole.folder)
    torture.figure(
        item=1,
        what="SIGKILL of whole command lines, one after another in one folder, feedback",
        kills=kills,
        differences=0,
        seed=SEED,
    )


# Signals that ask


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_the_epoch_and_prints_how_to_resume(command, undisturbed, tmp_path, number):
    whole = undisturbed("plain")
    output, folder = tmp_path / "output", tmp_path / "a run"
    argv = [*whole.argv, "--output-dir", folder, "--overwrite"]
    strike = Strike("a step", 12 + 5, (number,))  # in the second epoch of twelve steps
    assert command(argv, output, strike=strike) == 128 + number
    assert len(records(folder)) == 2
    said = output.read_text()
    assert said.count("stopping after this epoch; once more stops at once and drops the epoch") == 1
    assert "Traceback" not in said
    resume_as_said(command, said, folder, whole)


@pytest.mark.parametrize("numbers", [(signal.SIGINT,) * 2, (signal.SIGINT, signal.SIGTERM)])
def test_a_second_signal_stops_at_once(command, undisturbed, tmp_path, numbers):
    whole = undisturbed("plain")
    output, folder = tmp_path / "output", tmp_path / "a run"
    argv = [*whole.argv, "--output-dir", folder]
    assert command(argv, output, strike=Strike("a step", 12 + 5, numbers)) == 128 + numbers[-1]
    assert len(records(folder)) == 1
    assert "Traceback" not in output.read_text()
    resume_as_said(command, output.read_text(), folder, whole)


def resume_as_said(command: Command, said: str, folder: Path, whole: Undisturbed) -> None:
    """Give the command line that a stopped run has named and check the result."""
    (line,) = re.findall(r"^stopped; resume with: (.*)$", said, re.MULTILINE)
    words = shlex.split(line)
    assert words[:3] == [sys.executable, "-m", "sequential_fmnist"]
    assert words[-2:] == ["--resume", str(folder / "latest.pt")]
    assert command(words[3:], folder.parent / "output") == 0
    assert_same_run(folder, whole.folder)


@pytest.mark.parametrize(
    ("moment", "numbers"),
    [("loading the data", (signal.SIGTERM,)), ("a step", (signal.SIGINT,) * 2)],
    ids=["loading", "training"],
)
def test_signals_that_stop_before_an_epoch_has_ended(command, undisturbed, tmp_path, moment, numbers):
    whole = undisturbed("plain")
    output, folder = tmp_path / "output", tmp_path / "run"
    argv = [*whole.argv, "--output-dir", folder]
    assert command(argv, output, strike=Strike(moment, 1, numbers)) == 128 + numbers[0]
    assert "\nstopped before an epoch had ended: give the same command again\n" in "\n" + output.read_text()
    assert "Traceback" not in output.read_text()
    assert command(argv, output) == 0
    assert_same_run(folder, whole.folder)


def test_a_signal_in_the_last_epoch_lets_the_run_end_well(command, undisturbed, tmp_path):
    whole = undisturbed("plain")
    argv = [*whole.argv, "--output-dir", tmp_path / "run"]
    strike = Strike("a step", 60, (signal.SIGTERM,))
    assert command(argv, tmp_path / "output", strike=strike) == 0
    assert_same_run(tmp_path / "run", whole.folder)


def test_signals_at_any_moment_leave_a_run_that_can_be_resumed(command, undisturbed, torture, tmp_path):
    whole = undisturbed("stateful-synapse")
    count, random_, statuses = torture.count(fast=2, full=30), random.Random(SEED), Counter()
    for case in range(count):
        folder, output = tmp_path / f"run {case}", tmp_path / f"output {case}"
        numbers = random_.choices((signal.SIGINT, signal.SIGTERM), k=random_.choice((1, 2)))
        strike = draw(random_, whole.calls)
        argv = next_command(whole.argv, folder)
        status = command(argv, output, strike=Strike(strike.point, strike.nth, tuple(numbers)))
        assert status in (0, 130, 143), (SEED, case, strike, output.read_text())
        assert "Traceback" not in output.read_text(), (SEED, case, strike, output.read_text())
        statuses[str(status)] += 1
        assert command(next_command(whole.argv, folder), output) == 0, output.read_text()
        assert_same_run(folder, whole.folder)
    torture.figure(
        item=1,
        what="Ctrl-C or SIGTERM, once or twice, at random moments, then --resume",
        runs=count,
        exit_statuses=dict(statuses),
        differences=0,
        seed=SEED,
    )


def handlers():
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_handlers_are_there_for_the_block_only():
    before, stop = handlers(), Stop()
    with pytest.raises(ZeroDivisionError), stop.on_signals():
        assert handlers() == [stop._handle, stop._handle]
        raise ZeroDivisionError
    assert handlers() == before


def test_fit_alone_listens_to_no_signal(few):
    before, seen = handlers(), []
    fit(TrainingConfig(epochs=1), *few, log=lambda line: seen.append(handlers()))
    assert seen == [before]


def test_no_handler_outside_the_main_thread_or_in_a_notebook_or_for_what_is_ignored(monkeypatch):
    before = handlers()

    def look() -> list[object]:
        with Stop().on_signals():
            return handlers()

    seen = []
    thread = threading.Thread(target=lambda: seen.append(look()))
    thread.start()
    thread.join()
    assert seen == [before]

    stop = Stop()
    ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop.on_signals():
            assert handlers() == [signal.SIG_IGN, stop._handle]
    finally:
        signal.signal(signal.SIGINT, ignored)

    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: "a shell"))
    assert look() == before


# A notebook

CELL = """
print("begins")
net, history = fit(config, train, test, output_dir=folder, resume=True, tensorboard=True, log=print, progress=False)
print("ends")
"""


#: What :meth:`Kernel.run` returns where a cell was interrupted.
INTERRUPTED = ("KeyboardInterrupt", "lost")


class Kernel:
    """A kernel that runs cells and can be interrupted in them."""

    def __init__(self) -> None:
        self.manager = KernelManager(kernel_name="python3")
        paths = os.pathsep.join(
            [str(ROOT), str(ROOT / "tests" / "support"), os.environ.get("PYTHONPATH", "")]
        )
        self.manager.start_kernel(env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths})
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=120)

    def run(self, code: str, interrupt_after: str | None = None, wait: float = 0.0) -> str:
        """Run a cell and return "ok", the name of its error, or "lost".

        An interrupt that comes when the cell has just ended hits the kernel itself, which then forgets its answer.

        Args:
            code: the cell.
            interrupt_after: what the cell prints before it is interrupted.
            wait: seconds between the two.
        """
        request, interrupted = self.client.execute(code), False
        try:
            for content in self._answers(self.client.get_iopub_msg, request, 120):
                if interrupt_after and not interrupted and interrupt_after in content.get("text", ""):
                    interrupted = True
                    time.sleep(wait)
                    self.manager.interrupt_kernel()
                if content.get("execution_state") == "idle":
                    break
            content = next(self._answers(self.client.get_shell_msg, request, 5 if interrupted else 120))
        except queue.Empty:
            if interrupted:
                return "lost"
            raise
        return content.get("ename", content["status"])

    def _answers(self, get: Callable[..., dict], request: str, timeout: float) -> Iterator[dict]:
        """Yield the contents of a channel's messages about a request; queue.Empty where none comes in time."""
        while True:
            message = get(timeout=timeout)
            if message["parent_header"].get("msg_id") == request:
                yield message["content"]

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


@pytest.fixture
def kernel():
    kernel = Kernel()
    yield kernel
    kernel.close()


@pytest.mark.nightly
def test_an_interrupted_cell_can_be_run_again(kernel, undisturbed, torture, tmp_path):
    whole = undisturbed("feedback")
    count, random_, outcomes = torture.count(fast=3, full=30), random.Random(SEED), Counter()
    setup = f"""
import signal
from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.training import TrainingConfig, fit
config = TrainingConfig(model="feedback", epochs=5, batch_size=500)
train, test = (
    SequentialFashionMNIST(train=split, source="embedded", verbose=False) for split in (True, False)
)
fit(TrainingConfig(model="feedback", epochs=1), train, test)
handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
from pathlib import Path
tmp_path = Path({str(tmp_path)!r})
"""
    assert kernel.run(setup) == "ok"
    interrupts = runs = 0
    while interrupts < count:
        assert kernel.run(f'folder = tmp_path / "run {runs}"') == "ok"
        outcome = "KeyboardInterrupt"
        for _ in range(4):
            if outcome not in INTERRUPTED:
                break
            outcome = kernel.run(CELL, random_.choice(("begins", "epoch ")), random_.uniform(0, 0.2))
            outcomes[outcome] += 1
            interrupts += outcome == "KeyboardInterrupt"
        if outcome in INTERRUPTED:
            outcome = kernel.run(CELL)
        assert outcome == "ok", (SEED, runs, outcomes)
        assert_same_run(tmp_path / f"run {runs}", whole.folder)
        runs += 1
    same = "assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]"
    assert kernel.run(same) == "ok"
    torture.figure(
        item=1,
        what="a notebook's kernel interrupted in a cell that trains, and the cell run again",
        interrupts=interrupts,
        runs=runs,
        differences=0,
        seed=SEED,
    )
