"""What the runs on tasks that need memory say, in tables and sentences with their numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from experiments.evidence import CaseSummary, Summary, interval, listed, verdicts
from experiments.long.grid import NEAREST, SIZES, group_name
from experiments.long.networks import GATED, KINDS

__all__ = [
    "HELD",
    "TITLES",
    "aims",
    "all_of",
    "best_spiking",
    "budget",
    "conclusions",
    "farthest",
    "farthest_table",
    "group_of",
    "how_searched",
    "score_table",
    "searched_longer",
    "task_table",
]

#: Share of answers that counts as holding a cue.
HELD = 0.95
#: What tasks are called.
TITLES = {
    "recall": "recall",
    "noisy-recall": "recall through noise",
    "copying": "copying",
    "adding": "adding problem",
    "pixels": "pixel by pixel",
    "permuted": "pixels permuted",
    "vowels": "JapaneseVowels",
}


def group_of(summary: Summary, name: str, size: int = SIZES[0]) -> list[CaseSummary]:
    """Return the cases of a group that have all their runs; an empty list where there is none."""
    return list(summary["groups"].get(group_name(name, size), []))


def farthest(group: Iterable[CaseSummary], level: float = HELD) -> dict[str, int]:
    """Return for each network the longest delay up to which its mean accuracy is at least ``level``, 0 if none is."""
    found: dict[str, int] = {}
    ended = set()
    for case in sorted(group, key=lambda case: case["at"]):
        kind = case["kind"]
        found.setdefault(kind, 0)
        if case["accuracy"]["mean"] < level:
            ended.add(kind)
        if kind not in ended:
            found[kind] = case["at"]
    return found


def farthest_table(groups: Mapping[str, Iterable[CaseSummary]], level: float = HELD) -> str:
    """Return the longest delays that networks bridge as a table in Markdown, a column for each task."""
    columns = {name: farthest(group, level) for name, group in groups.items()}
    rows = [f"| network | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    for kind in (*KINDS, *GATED):
        cells = [f"{found[kind] or 'none'}" if kind in found else "" for found in columns.values()]
        if any(cells):
            rows.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def task_table(summary: Summary) -> str:
    """Return the tasks with what guessing and knowing score, as a table in Markdown."""
    rows = [
        "| task | steps to bridge | chance | optimum | read-out sees | sequences to train with, at most | seeds |",
        "|---|---|---:|---:|---|---:|---:|",
    ]
    for name, facts in summary["tasks"].items():
        points = ", ".join(str(at) for at in facts["points"] if at is not None)
        points = points or {"vowels": "up to 29"}.get(name, "up to 784")
        window = "all steps" if facts["window"] is None else f"the last {facts['window']} steps"
        if name == "adding":
            scores = "error 1/6", "error 0"
        else:
            scores = f"{100 * facts['chance']:.1f} %", f"{100 * facts['optimum']:.0f} %"
        shown = f"{facts['steps'] * facts['batch_size']:,}"
        rows.append(
            f"| {TITLES[name]} | {points} | {scores[0]} | {scores[1]} | {window} | {shown} | {facts['seeds']} |"
        )
    return "\n".join(rows) + "\n"


def score_table(group: Sequence[CaseSummary], scale: float = 100, digits: int = 1) -> str:
    """Return cases as a table in Markdown: network, size, score with its interval, spikes, runs that failed."""
    rows = [
        "| network | hidden | parameters | score | spikes of a sequence | not finite |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for case in group:
        if case["spikes"]:
            spikes = interval(case["spikes"], scale=1, digits=0)
        else:
            spikes = "not known" if case["kind"] in KINDS else "none: not spiking"
        name = case["kind"] if case["at"] is None else f"{case['kind']}, {case['at']} steps"
        score = interval(case["accuracy"], scale, digits)
        rows.append(
            f"| {name} | {case['hidden']} | {case['parameters']:,} | {score} | {spikes} | {case['failed'] or ''} |"
        )
    return "\n".join(rows) + "\n"


def best_spiking(group: Iterable[CaseSummary], least: bool = False) -> CaseSummary:
    """Return the case of a spiking network with the highest mean score, or the least."""
    spiking = [case for case in group if case["kind"] in KINDS]
    return (min if least else max)(spiking, key=lambda case: case["accuracy"]["mean"])


def _case(group: Iterable[CaseSummary], kind: str) -> CaseSummary:
    return next(case for case in group if case["kind"] == kind)


def searched_longer(summary: Summary, task: str, size: int = SIZES[0]) -> list[CaseSummary]:
    """Return the cases of a task with a recipe that was searched for longer."""
    return [case for case in group_of(summary, "tuned", size) if case["name"] == task]


def all_of(summary: Summary, task: str, size: int = SIZES[0]) -> list[CaseSummary]:
    """Return the cases of a task with the recipes of the search and with one that was searched for longer."""
    return group_of(summary, task, size) + searched_longer(summary, task, size)


def how_searched(summary: Summary, case: CaseSummary) -> str:
    """Return words to be put behind the score of a case, empty if its recipe is one of the search."""
    return " after a longer search" * any(case in group_of(summary, "tuned", size) for size in SIZES)


def _nearness(summary: Summary, task: str, size: int) -> str:
    """Say how far the best spiking network of at most a size is from the best GRU of at most that size.

    If runs of the GRU of that size fail, a better recipe may bring it farther, and nothing is decided.
    """
    group = [case for one in SIZES if one <= size for case in all_of(summary, task, one)]
    best, grus = best_spiking(group), [case for case in group if case["kind"] == "GRU"]
    gru = max(grus, key=lambda case: case["accuracy"]["mean"])
    points = 100 * (best["accuracy"]["mean"] - gru["accuracy"]["mean"])
    title = {"pixels": "Pixel by pixel", "permuted": "Permuted pixels"}[task]
    failing = "".join(
        f"; with {case['parameters']:,} parameters {case['failed']} of its {len(case['values'])} runs are not finite"
        for case in grus
        if case["failed"]
    )
    verdict = "missed" if points < -3 else "not decided" if failing else "met"
    return (
        f"**{title}, at most {size:,} parameters, within 3 points of the GRU: {verdict}.** The best spiking network, "
        f"{best['kind']}, reaches {interval(best['accuracy'])} %{how_searched(summary, best)}, the GRU "
        f"{interval(gru['accuracy'])} % with {gru['parameters']:,} parameters{failing}: {points:+.1f} points."
    )


def aims(summary: Summary) -> list[str]:
    """Return for each aim whether it is met, in a sentence of Markdown with its figures."""
    found = [
        _nearness(summary, task, size)
        for task in ("pixels", "permuted")
        for size in SIZES
        if {"GRU", NEAREST} <= {case["kind"] for case in all_of(summary, task, size)}
    ]
    for name, title in (("noisy-recall", "through noise"), ("recall", "without noise")):
        at = [case for case in group_of(summary, name) if case["at"] == 500]
        if at:
            solved = [
                case["kind"] for case in at if case["kind"] in KINDS and case["accuracy"]["mean"] >= HELD
            ]
            found.append(
                f"**Recall after 500 steps, {title}, at 95 %: {'met' if solved else 'missed'}**"
                + (f" by {listed(solved)}." if solved else f": the best is {best_spiking(at)['kind']} with "
                   f"{interval(best_spiking(at)['accuracy'])} %.")
            )  # fmt: skip
    if group_of(summary, "adding"):
        best = best_spiking(all_of(summary, "adding"), least=True)
        met = best["accuracy"]["mean"] < 1 / 60
        found.append(
            f"**The adding problem over 400 steps, below a tenth of the trivial error, 1/60 = 0.0167: "
            f"{'met' if met else 'missed'}.** The best spiking network, {best['kind']}, ends with an error of "
            f"{interval(best['accuracy'], scale=1, digits=4)}{how_searched(summary, best)}."
        )
    return found


def budget(summary: Summary) -> str:
    """Return what the search and the runs took, in a sentence."""
    return (
        f"{summary['runs']:,} runs, {summary['hours']:.1f} hours on one core each; for every network and task "
        f"{len(summary['recipes'])} recipes were tried."
    )


def conclusions(summary: Summary, inside: Mapping[str, Any]) -> list[str]:
    """Return what follows for the text's claim, in ten sentences of Markdown with their numbers.

    A sentence whose runs are not all made is left out.

    Args:
        summary: ``results/long.json``.
        inside: ``results/long_inside.json``.
    """
    told: tuple[tuple[tuple[str, ...], Callable[[Summary], str]], ...] = (
        (("noisy-recall",), _on_noise),
        (("recall", "noisy-recall"), _on_phase),
        ((), lambda _: _on_gradients(inside)),
        ((), lambda _: _on_probes(inside)),
        (("copying",), _on_order),
        (("adding",), _on_amounts),
        (("pixels",), lambda summary: _on_images(summary, inside, "pixels")),
        (("permuted",), lambda summary: _on_images(summary, inside, "permuted")),
        (("vowels",), _on_vowels),
        (("noisy-recall",), _on_the_claim),
    )
    return [tell(summary) for names, tell in told if _is_complete(summary, *names)]


def _is_complete(summary: Summary, *names: str) -> bool:
    """Say whether all cases of some groups are there."""
    wanted = {name: len(summary["tasks"][name]["points"]) * len((*KINDS, *GATED)) for name in names}
    return all(len(group_of(summary, name)) == number for name, number in wanted.items())


def _per_cent(group: Iterable[CaseSummary], kind: str, at: int | None = None) -> str:
    case = next(case for case in group if (case["kind"], case["at"]) == (kind, at))
    return f"{100 * case['accuracy']['mean']:.0f} %"


def _on_noise(summary: Summary) -> str:
    steps = farthest(group_of(summary, "noisy-recall"))
    longest = max(steps[kind] for kind in KINDS)
    best = [kind for kind in KINDS if steps[kind] == longest]
    both = " and ".join(dict.fromkeys(_steps(steps[kind]) for kind in ("plain", "feedback")))
    others = [
        f"{words} for {_steps(steps[kind])}"
        for words, kind in (("an adaptive threshold", "adaptive threshold"), ("a GRU", "GRU"))
    ]
    return (
        f"**Through noise, a plain network and one with feedback hold a cue for {both}**, {', '.join(others)}; the "
        f"longest, {_steps(longest)}, by {listed(best)}."
    )


def _steps(steps: int) -> str:
    return f"{steps:,} steps" if steps else "none of the delays"


def _on_phase(summary: Summary) -> str:
    with_noise, without = farthest(group_of(summary, "noisy-recall")), farthest(group_of(summary, "recall"))
    return (
        f"**Memory by phase is no memory**: without noise the plain network recalls after {_steps(without['plain'])}, "
        f"in the phase of its rhythm; with noise after {_steps(with_noise['plain'])}."
    )


def _on_gradients(inside: Mapping[str, Any]) -> str:
    at = inside["after"].index(inside["delay"])

    def lost(kind: str) -> float:
        norms = inside["networks"][kind]["random"]["reach"]
        return norms[at] / norms[0] if norms[0] else 0.0

    return (
        f"**A loop fails at the gradient**: {inside['delay']} steps back, before training, it has fallen to "
        f"{lost('feedback'):.0e} of what it is one step back in the feedback network and to {lost('plain'):.0e} in the "
        f"plain one, but to {lost(NEAREST):.2f} of it in a loop through a stateful synapse, {lost('GRU'):.1f} in a GRU "
        f"and {lost('stateful synapse'):.1f} behind a synapse without a loop."
    )


def _on_probes(inside: Mapping[str, Any]) -> str:
    at = inside["after"].index(inside["delay"])

    def read(kind: str, state: str) -> str:
        return f"{100 * inside['networks'][kind][state]['held'][at][0]:.0f} %"

    names = ("stateful synapse", "feedback, learned delays", "GRU")
    pairs = [f"{kind} {read(kind, 'random')} and {read(kind, 'trained')}" for kind in names]
    return (
        f"**Training makes some memories and only uses others**: {inside['delay']} steps after the cue a linear probe "
        f"reads, before and after training: {'; '.join(pairs)}."
    )


def _on_order(summary: Summary) -> str:
    group = group_of(summary, "copying")
    steps, first = farthest(group), min(case["at"] for case in group)
    able = [kind for kind in KINDS if steps[kind]]
    most = max(steps[kind] for kind in KINDS)
    who = listed([kind for kind in able if steps[kind] == most])
    best = best_spiking([case for case in group if case["at"] == first])
    order = (
        f"{who} copies it over {_steps(most)}"
        if able
        else f"the best, {best['kind']}, does not over {first} steps"
    )
    return (
        f"**Order, and not presence alone**: of four symbols in their order a stateful synapse repeats "
        f"{_per_cent(group, 'stateful synapse', first)} after {first} steps, where guessing gives 25 %, and {order}."
    )


def _on_amounts(summary: Summary) -> str:
    group = group_of(summary, "adding")
    drawn, gru = best_spiking(group, least=True), _case(group, "GRU")
    best = best_spiking(all_of(summary, "adding"), least=True)
    return (
        f"**An amount, kept for 400 steps**: the adding problem ends with an error of {best['accuracy']['mean']:.4f} "
        f"at best, by {best['kind']}{how_searched(summary, best)}, and with {drawn['accuracy']['mean']:.4f} by the "
        f"best of the eight recipes; a GRU ends at {gru['accuracy']['mean']:.4f}, guessing at 0.1667."
    )


def _on_images(summary: Summary, inside: Mapping[str, Any], task: str) -> str:
    group = group_of(summary, task)
    best, gru, plain, feedback = (
        best_spiking(all_of(summary, task)),
        *(_case(group, kind) for kind in ("GRU", "plain", "feedback")),
    )
    title = {"pixels": "Pixel by pixel", "permuted": "With permuted pixels"}[task]
    return (
        f"**{title} the best spiking network reaches {interval(best['accuracy'])} %"
        f"{how_searched(summary, best)}**, {best['kind']}; a GRU of its size {interval(gru['accuracy'])} %, the plain "
        f"network {interval(plain['accuracy'])} % and feedback {interval(feedback['accuracy'])} %; a linear reader of "
        f"the last {summary['tasks'][task]['window']} pixels, without memory, {100 * inside['window'][task]:.1f} %."
    )


def _on_vowels(summary: Summary) -> str:
    group = group_of(summary, "vowels")
    means = {case["kind"]: 100 * case["accuracy"]["mean"] for case in group}
    spiking = [kind for kind in means if kind in KINDS]
    low, high = min(spiking, key=lambda kind: means[kind]), max(spiking, key=lambda kind: means[kind])
    return (
        f"**Speech of at most 29 steps asks for less**: on JapaneseVowels the plain network reaches "
        f"{means['plain']:.1f} %; the lowest spiking one is {low} with {means[low]:.1f} %, the highest {high} with "
        f"{means[high]:.1f} %, and a GRU reaches {means['GRU']:.1f} %."
    )


def _on_the_claim(summary: Summary) -> str:
    longest = max(case["at"] for case in group_of(summary, "noisy-recall"))
    end = [case for case in group_of(summary, "noisy-recall") if case["at"] == longest]
    answers = verdicts(summary)
    kinds = ("plain", "stateful synapse", "feedback", NEAREST)
    plain, synapse, feedback, both = (_per_cent(end, kind, longest) for kind in kinds)
    words = [answers[f"{kind} over plain: noisy-recall over {longest} steps"].word for kind in kinds[1:]]
    return (
        f"**Of the claim one half holds, and the other with its help**: after {longest} steps of noise a plain network "
        f"recalls {plain}; a stateful synapse {synapse}, which is {words[0]}; the text's feedback {feedback}, which is "
        f"{words[1]}; feedback through a stateful synapse {both}, which is {words[2]}."
    )
