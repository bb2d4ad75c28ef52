"""What is run on the tasks that need memory: a search for each network and task, and the runs that count."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from experiments.grid import Groups
from experiments.long.networks import GATED, KINDS, MemorySpec, hidden_for
from experiments.long.runs import LongRun, LongTraining, TaskSpec
from experiments.results import write_json
from experiments.runs import Case, Record

__all__ = [
    "DRAWS",
    "GROUPS",
    "NEAREST",
    "NETWORKS",
    "QUESTIONS",
    "SIZES",
    "TUNED",
    "Question",
    "choose",
    "chosen",
    "group_name",
    "searched",
    "spec_of",
]

NETWORKS = (*KINDS, *GATED)
#: Most parameters of a network: as many as the text's feedback network has, and about five times as many.
SIZES = (3_338, 16_000)

#: Largest delay of a feedback connection, in time steps, or the shortest sequence if that is shorter.
MOST_DELAY = 32

_SPACE: dict[str, tuple[Any, ...]] = {
    "lr": (0.003, 0.01, 0.03),
    "tau": (0.3, 1.0, 4.0),  # times as long as what is to be bridged
    "membrane": (2.0, 5.0, 20.0),
    "gain": (1.0, 3.0),
    "recurrent_gain": (0.3, 1.0),
    "readout_gain": (0.1, 1.0),
    "detach_reset": (True, False),
    "alpha": (1.0, 2.0),
    "gate": (0.0, 2.0, 4.0),
}


def _draws(number: int) -> list[dict[str, Any]]:
    """Return recipes drawn at random, each number of an option as often as any other, up to one."""
    rng = random.Random(2026)  # noqa: S311
    columns = {}
    for name, values in _SPACE.items():
        column = [values[k % len(values)] for k in range(number)]
        rng.shuffle(column)
        columns[name] = column
    return [{name: column[k] for name, column in columns.items()} for k in range(number)]


#: The recipes that are tried for every network and task, the same ones.
DRAWS = _draws(8)


#: A loop with a synapse inside, which got more than the draws.
NEAREST = "feedback through a stateful synapse"
_PIXELS: dict[str, Any] = {
    "lr": 0.01,
    "tau": 1.0,
    "membrane": 5.0,
    "gain": 0.3,
    "recurrent_gain": 1.0,
    "readout_gain": 1.0,
    "detach_reset": False,
    "alpha": 1.0,
}
_SYNAPSE = "stateful synapse, tau per neuron"
#: For some tasks a recipe that is none of the draws, and the networks that are trained with it: the one that it was
#: searched for, and parts of that one. The recipes were found by hand, in about fifty more runs on validation
#: sequences.
TUNED: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "adding": (DRAWS[5] | {"membrane": 1.1}, ("plain", _SYNAPSE, "double-exponential synapse", NEAREST)),
    "pixels": (_PIXELS, ("feedback", _SYNAPSE, "feedback and stateful synapse", NEAREST)),
    "permuted": (_PIXELS, (NEAREST,)),
}


@dataclasses.dataclass(frozen=True)
class Question:
    """A task with all that does not differ from network to network.

    Args:
        task: its name.
        points: delays or lengths, in steps; None where there is one only.
        searched_at: the points at which recipes are chosen, by the mean of the scores.
        steps: of training, and of the search.
        batch_size: sequences of a step.
        seeds: runs of each network.
        noise: on the inputs of recall.
        permuted: of the pixels.
        longest: steps to bridge, where ``points`` do not say it.
    """

    task: str
    points: tuple[int | None, ...]
    searched_at: tuple[int | None, ...]
    steps: int
    search_steps: int
    batch_size: int
    seeds: int = 10
    noise: float = 0.0
    permuted: bool = False
    longest: int = 0

    def task_spec(self, at: int | None, split: str = "test") -> TaskSpec:
        return TaskSpec(self.task, at, self.noise, self.permuted, split)


QUESTIONS: dict[str, Question] = {
    "recall": Question("recall", (20, 50, 100, 200, 500), (20, 50, 200), 1_000, 400, 32),
    "noisy-recall": Question("recall", (20, 50, 100, 200, 500), (20, 50, 200), 1_000, 400, 32, noise=0.1),
    "copying": Question("copying", (10, 20, 50, 100), (10, 50), 1_500, 500, 64),
    "adding": Question("adding", (400,), (100,), 1_500, 500, 32, 5),
    "pixels": Question("pixels", (None,), (None,), 2_800, 400, 64, 5, longest=784),
    "permuted": Question("pixels", (None,), (None,), 2_800, 400, 64, 5, permuted=True, longest=784),
    "vowels": Question("vowels", (None,), (None,), 800, 400, 16, longest=29),
}


def spec_of(
    name: str, kind: str, recipe: dict[str, Any], at: int | None, size: int = SIZES[0], split: str = "test"
) -> LongRun:
    """Return a run of a question with a recipe, with seed 0.

    Args:
        name: one of :data:`QUESTIONS`.
        kind: one of :data:`NETWORKS`.
        recipe: one of :data:`DRAWS`.
        at: one of the question's points.
        size: most parameters.
        split: what it is measured on; ``"validation"`` takes the steps of the search.
    """
    question = QUESTIONS[name]
    spec = question.task_spec(at, split)
    task = spec.task()
    used = {name: value for name, value in recipe.items() if name in _used(kind)}
    lr = used.pop("lr")
    if "tau" in used:
        used["tau"] *= at or question.longest
    if "delays" in kind:
        used["max_delay"] = min(MOST_DELAY, task.shortest)
    network = MemorySpec(kind, hidden_for(kind, task.inputs, task.outputs, size), **used)
    steps = question.steps if split == "test" else question.search_steps
    return LongRun(network, LongTraining(steps, question.batch_size, lr), spec)


@cache
def _used(kind: str) -> frozenset[str]:
    """Return the options that a kind of network has; others would make runs that are the same look different."""
    used = {"lr", "readout_gain"}
    if kind in GATED:
        return frozenset(used | {"gate"})
    used |= {"gain", "detach_reset", "alpha"}
    if "parametric" not in kind:
        used.add("membrane")
    if kind not in ("plain", "feedback", "feedback, learned delays"):
        used.add("tau")
    if "feedback" in kind and "delays" not in kind:
        used.add("recurrent_gain")
    return frozenset(used)


def searched(name: str) -> Iterable[tuple[str, int, LongRun]]:
    """Yield every network with the number of each recipe and its runs on the validation set."""
    for kind in NETWORKS:
        for number, recipe in enumerate(DRAWS):
            for at in QUESTIONS[name].searched_at:
                yield kind, number, spec_of(name, kind, recipe, at, split="validation")


#: Which recipe was chosen for each question and network, by its number; ``make ablation`` writes it after the search.
RECIPES = Path(__file__).with_name("recipes.json")


def chosen() -> dict[str, dict[str, int]]:
    """Return the numbers of the recipes that were chosen, by question and network."""
    found: dict[str, dict[str, int]] = json.loads(RECIPES.read_text())
    return found


def choose(records: Mapping[str, Record]) -> None:
    """Write the recipe with the best mean score of each question whose search is complete.

    Of recipes that are as good as each other the one that got there in fewer steps is taken.
    """
    numbers, before = chosen(), chosen()
    for name, question in QUESTIONS.items():
        runs: dict[tuple[str, int], list[LongRun]] = {}
        for kind, number, spec in searched(name):
            runs.setdefault((kind, number), []).append(spec)
        if all(spec.key() in records for specs in runs.values() for spec in specs):
            merits = {key: _merit(question, [records[s.key()] for s in specs]) for key, specs in runs.items()}
            numbers[name] = {
                kind: max(range(len(DRAWS)), key=lambda number: merits[kind, number]) for kind in NETWORKS
            }
    if numbers != before:
        write_json(RECIPES, numbers)


def _merit(question: Question, records: Sequence[Record]) -> tuple[float, int]:
    task = question.task_spec(None).task()
    scores = [task.chance if record["accuracy"] is None else record["accuracy"] for record in records]
    mean = sum(scores) / len(scores)
    steps = sum(record["curve"][-1][0] for record in records if record.get("curve"))
    return (mean if task.optimum > task.chance else -mean), -steps


def _search() -> Iterable[Case]:
    """Which recipe suits each network on each task, on validation sequences, the failures too?"""
    for name in QUESTIONS:
        for kind, number, spec in searched(name):
            yield Case(f"{name}, recipe {number}", kind, spec, 1, spec.task.at)


def _asked(name: str, size: int) -> Callable[[], Iterable[Case]]:
    """Return the group of a question with networks of a size; it is empty until recipes are chosen."""

    def group() -> Iterable[Case]:
        question, numbers = QUESTIONS[name], chosen().get(name, {})
        for at in question.points:
            for kind, number in numbers.items():
                yield Case(name, kind, spec_of(name, kind, DRAWS[number], at, size), question.seeds, at)

    return group


def _tuned(size: int) -> Callable[[], Iterable[Case]]:
    """Return the group of what a longer search found: is it the recipe or the network?"""

    def group() -> Iterable[Case]:
        for name, (recipe, kinds) in TUNED.items():
            question = QUESTIONS[name]
            for kind in kinds:
                at = question.points[-1]
                yield Case(name, kind, spec_of(name, kind, recipe, at, size), question.seeds, at)

    return group


def group_name(name: str, size: int = SIZES[0]) -> str:
    """Return the name of the group of a question, or of ``"tuned"``, with networks of a size."""
    return f"long-{name}" if size == SIZES[0] else f"long-{name}-{size}"


#: Every group by its name, in the order in which they run.
GROUPS: Groups = (
    {"long-search": _search}
    | {group_name(name, size): _asked(name, size) for size in SIZES for name in QUESTIONS}
    | {group_name("tuned", size): _tuned(size) for size in SIZES}
)
