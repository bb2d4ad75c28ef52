"""What the runs of the ablation say, in words: verdicts with intervals, tables.

Everything is read from the summary in ``results/ablation.json``; nothing is computed from runs here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments.grid import CUTS
from sequential_fmnist.networks import NETWORKS
from snn_core.checks import check_number

__all__ = [
    "Verdict",
    "best_table",
    "case_table",
    "cases",
    "conclusions",
    "holm",
    "interval",
    "lost",
    "reproduced_table",
    "verdict_table",
    "verdicts",
]

#: A case of a group as the summary holds it: name, kind, at, values, accuracy and more.
CaseSummary = Mapping[str, Any]
Summary = Mapping[str, Any]

#: A question counts as decided below this probability.
LEVEL = 0.05


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Answer to one question of the form "does b do better than a?".

    Args:
        question: what is compared.
        gain: mean difference over the seeds in points, with the ends of its 95 % interval: mean, low, high. The
            interval is that of this question alone; p is corrected, so that it may exclude 0 and yet be undecided.
        seeds: number of pairs of runs.
        p: p-value of the paired t-test, corrected for the number of questions by :func:`holm`.
        p_wilcoxon: p-value of Wilcoxon's signed-rank test, which assumes no bell curve. It is not corrected: with ten
            seeds it cannot fall below 2/1024.
    """

    question: str
    gain: tuple[float, float, float]
    seeds: int
    p: float
    p_wilcoxon: float

    @property
    def decided(self) -> bool:
        """Whether both tests find a difference."""
        return self.p < LEVEL and self.p_wilcoxon < LEVEL

    @property
    def word(self) -> str:
        """The verdict."""
        return "undecided" if not self.decided else "a gain" if self.gain[0] > 0 else "a loss"

    def __str__(self) -> str:
        mean, low, high = self.gain
        numbers = f"{mean:+z.1f} points [{low:+z.1f}, {high:+z.1f}]"
        p = f"p {_at(self.p)}"
        if (self.p < LEVEL) != (self.p_wilcoxon < LEVEL):
            p += f" (by Wilcoxon's test {_at(self.p_wilcoxon)})"
        return f"{self.question}: {numbers}, {self.seeds} seeds, {p}: {self.word}"


def _at(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def holm(p: Sequence[float]) -> list[float]:
    r"""Return p-values corrected for their number by Holm's method.

    .. math:: p'_{(k)} = \max_{j \le k} \min\left(1, (m - j + 1)\, p_{(j)}\right)

    where :math:`p_{(1)} \le \dots \le p_{(m)}`: the chance that any of m true "no difference" is called a difference
    then stays below the level at which the :math:`p'` are judged.

    Raises:
        TypeError: ``p`` is not a list of numbers.
        ValueError: one of them does not lie between 0 and 1.
    """
    for each in p:
        if not 0 <= check_number("p", each) <= 1:
            raise ValueError(f"p must lie between 0 and 1, got {each}")
    corrected, running = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda index: p[index])):
        running = max(running, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = running
    return corrected


def verdicts(summary: Summary) -> dict[str, Verdict]:
    """Return the answers to all questions with a yes or no, in the summary's order."""
    found = summary["comparisons"]
    corrected = holm([each["p_t"] for each in found.values()])
    answers = {}
    for (question, each), p in zip(found.items(), corrected, strict=True):
        gain = tuple(100 * each["gain"][name] for name in ("mean", "low", "high"))
        answers[question] = Verdict(question, gain, each["gain"]["n"], p, each["p_wilcoxon"])
    return answers


def cases(summary: Summary, group: str) -> list[CaseSummary]:
    """Return the cases of a group; an empty list where its runs are not all made."""
    return list(summary["groups"].get(group, []))


def interval(estimate: Mapping[str, Any], scale: float = 100, digits: int = 1) -> str:
    """Return a mean with its 95 % interval, as in "72.5 [72.2, 72.8]".

    Fewer than three runs get none: the interval of two is 13 times as wide as their distance.

    Args:
        estimate: ``mean``, ``low``, ``high`` and the number of runs ``n``.
        scale: factor on all three; 100 turns fractions into per cent.
        digits: digits behind the point.
    """
    mean = f"{scale * estimate['mean']:,.{digits}f}"
    if estimate["n"] < 3:
        return mean
    return f"{mean} [{scale * estimate['low']:,.{digits}f}, {scale * estimate['high']:,.{digits}f}]"


def case_table(group: Iterable[CaseSummary]) -> str:
    """Return cases as a table in Markdown: name, network, accuracy in per cent with its interval, seeds."""
    rows = ["| case | network | test accuracy | seeds |", "|---|---|---:|---:|"]
    for case in group:
        failed = f", {case['failed']} not finite" if case["failed"] else ""
        rows.append(f"| {case['name']} | {case['kind']} | {_cell(case)} | {len(case['values'])}{failed} |")
    return "\n".join(rows) + "\n"


def verdict_table(answers: Iterable[Verdict]) -> str:
    """Return answers as a table in Markdown."""
    rows = ["| question | gain in points | p, corrected | verdict |", "|---|---:|---:|---|"]
    for each in answers:
        mean, low, high = each.gain
        gain = f"{mean:+z.1f} [{low:+z.1f}, {high:+z.1f}]"
        rows.append(f"| {each.question} | {gain} | {_at(each.p).removeprefix('= ')} | {each.word} |")
    return "\n".join(rows) + "\n"


def lost(group: Sequence[CaseSummary]) -> dict[str, float]:
    """Return how many points of mean accuracy each network loses from the smallest ``at`` of a group to the largest."""
    found = {}
    for kind in dict.fromkeys(case["kind"] for case in group):
        mine = sorted((case for case in group if case["kind"] == kind), key=lambda case: case["at"])
        found[kind] = 100 * (mine[0]["accuracy"]["mean"] - mine[-1]["accuracy"]["mean"])
    return found


def reproduced_table(summary: Summary, published: Mapping[str, Any], epochs: int = 64) -> str:
    """Return published accuracies in Markdown, and those found with the gradient of the reset cut here and there.

    The published figures of 90 epochs were measured on training images, so train accuracies stand beside them.

    Args:
        summary: ``results/ablation.json``.
        published: ``results/published.json``.
        epochs: 64 or 90, with the settings of the published runs of that length.
    """
    run = published["runs"][f"{epochs} epochs"]
    runs = {(case["kind"], case["name"]): case for case in cases(summary, "reset")}
    rows = [f"| network | published | {' | '.join(CUTS)} |", f"|---|---:|{'---:|' * len(CUTS)}"]
    for kind in NETWORKS:
        cells = [kind, f"{100 * run['right'][kind] / run['images']:.1f} %"]
        for cut in CUTS:
            case = runs.get((kind, f"{epochs} epochs, {cut}"))
            is_train = case is not None and epochs == 90
            cells.append(f"{100 * case['train_accuracy']:.1f} %" if is_train else _cell(case))
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def best_table(summary: Summary) -> str:
    """Return the table of the best recipes in Markdown, and of the controls beside them.

    Args:
        summary: ``results/ablation.json``.
    """
    rows = [
        "| network | recipe | parameters | test accuracy | spikes per image (2) |",
        "|---|---|---:|---:|---:|",
    ]
    for group in ("best", "refined", "gated"):
        for case in cases(summary, group):
            spikes = interval(case["spikes"], scale=1, digits=0) if case["spikes"] else "none: not spiking"
            cells = [case["kind"], case["name"], f"{case['parameters']:,}", _cell(case), spikes]
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def conclusions(summary: Summary, published: Mapping[str, Any], taus: Mapping[str, Any]) -> list[str]:
    """Return what follows for the text's claim, in ten sentences of Markdown with their numbers.

    Args:
        summary: ``results/ablation.json``, with all groups.
        published: ``results/published.json``.
        taus: ``results/learned_tau.json``.
    """
    answers = verdicts(summary)

    def found(group: str, name: str, kind: str) -> CaseSummary:
        return next(case for case in cases(summary, group) if (case["name"], case["kind"]) == (name, kind))

    def reached(group: str, name: str, *kinds: str) -> str:
        return listed(
            f"{100 * found(group, name, kind)['accuracy']['mean']:.1f}" for kind in kinds or NETWORKS
        )

    def gain(question: str) -> str:
        mean, low, high = answers[question].gain
        return f"{mean:+z.1f} points [{low:+z.1f}, {high:+z.1f}]"

    same = reached("reset", "64 epochs, cut nowhere")
    run = published["runs"]["64 epochs"]
    theirs = listed(f"{100 * run['right'][kind] / run['images']:.1f}" for kind in NETWORKS)
    everywhere = found("reset", "64 epochs, cut everywhere", "feedback")
    plain = found("reset", "64 epochs, cut everywhere", "plain")["accuracy"]["mean"]
    below = sum(value < plain for value in everywhere["values"])
    clipped = "64 epochs, cut everywhere, gradient norm at most 1"
    loop, wide = (
        found("refined", name, kind)
        for name, kind in (("second search", "feedback"), ("second search, 86 hidden", "plain"))
    )
    delay = cases(summary, "delay")
    fallen = listed(f"{points:.1f}" for points in lost(delay).values())
    learned = [sorted(taus["delays"][columns]["tau"]) for columns in ("0", "56")]
    order = [
        100 * (found("order", "permuted columns", kind)["accuracy"]["mean"]
               - found("order", "columns", kind)["accuracy"]["mean"])
        for kind in NETWORKS
    ]  # fmt: skip
    longest = max(case["at"] for case in delay)
    return [
        f"**The published figures are reproduced**: with the gradient through the reset cut nowhere, the text's recipe "
        f"gives {same} % for the plain, the stateful and the feedback network; published are {theirs} %.",
        f"**One setting decides whether feedback trains**: with that gradient cut everywhere, as in the text's "
        f"listing, feedback reaches {interval(everywhere['accuracy'])} %, {below} of "
        f"{len(everywhere['values'])} runs end below the plain network, and limiting the gradient's norm to 1 brings "
        f"it to {reached('reset', clipped, 'feedback')} %.",
        f"**The accuracy is higher** with the gradient through the reset: over the plain network the stateful synapse "
        f"gains {gain('stateful-synapse over plain, gradient through the reset, 64 epochs')} and feedback "
        f"{gain('feedback over plain, gradient through the reset, 64 epochs')}.",
        f"**Part of that belongs to the recipe**: with the stable recipe feedback gains "
        f"{gain('feedback over plain, stable recipe')}, and the stateful synapse "
        f"{gain('stateful-synapse over plain, stable recipe')}.",
        f"**Most of what feedback gains is size**: over a plain network with as many parameters it is "
        f"{gain('feedback over plain with 86 hidden neurons, stable recipe')} with the stable recipe, "
        f"{answers['feedback over plain with 86 hidden neurons, stable recipe'].word}, and "
        f"{gain('feedback over plain with 86 hidden neurons, best recipe')} with that of the second search.",
        f"**The loop is cheaper in spikes**: 32 neurons with feedback reach "
        f"{100 * loop['accuracy']['mean']:.1f} % with {loop['spikes']['mean']:.0f} spikes for an image, 86 plain ones "
        f"{100 * wide['accuracy']['mean']:.1f} % with {wide['spikes']['mean']:.0f}.",
        f"**Both connections carry memory**: read out in the last step only, the three networks reach "
        f"{reached('last_steps', 'last 1')} %.",
        f"**The stateful synapse remembers longest**: from no delay to {longest} blank columns the networks lose "
        f"{fallen} points, and tau, 2 at the start, grows to {learned[0][0]:.1f} to {learned[0][-1]:.1f} time steps "
        f"without a delay and to {learned[1][0]:.1f} to {learned[1][-1]:.1f} with it.",
        f"**The order of the columns hardly matters**: in one fixed random order they change the accuracy by "
        f"{listed(f'{points:+z.1f}' for points in order)} points, and leaving the recurrent weights random costs "
        f"{answers['learned over frozen recurrent weights'].gain[0]:.1f} points.",
        f"**A GRU of the same size reaches {reached('gated', 'stable', 'gru')} %**, "
        f"{gain('GRU over the best feedback network')} over the best feedback network.",
    ]


def listed(values: Iterable[str]) -> str:
    """Return values as in "a, b and c"; those with a comma of their own are separated by semicolons."""
    *first, last = values
    between = "; " if any("," in value for value in (*first, last)) else ", "
    return f"{between.join(first)} and {last}" if first else last


def _cell(case: CaseSummary | None) -> str:
    return f"{interval(case['accuracy'])} %" if case else ""
