"""Where must a slow state sit? The second study of chapter 07: controls that were asked for after the first.

``CONTROLS.md`` was committed before their runs and says what is concluded from what. Cases that the first study has are
its runs, with seeds from 0 on; all others have seeds from :data:`FIRST` on, those of the last groups from
:data:`FIRST_NEW` on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from torch import nn

from sequential_fmnist.experiments.ablation import ABLATION, DELAYS, MATCHED, STABLE
from sequential_fmnist.experiments.fair.networks import chrono
from sequential_fmnist.experiments.frame import Case, Group, Place, Records, Spec, Study
from sequential_fmnist.experiments.images import ImageTask
from sequential_fmnist.options import option
from sequential_fmnist.variants import NetworkSpec

__all__ = ["SCALES", "WAITED", "WHERE", "WHOLE"]

FIRST, SEEDS = 100, 6
FIRST_NEW = 300
#: Factors on the outputs before the loss.
SCALES = (1.0, 10.0)
WHOLE, WAITED = "whole image", f"{DELAYS[-1]} blank columns"
_SHOWN: dict[str, tuple[ImageTask, int | None]] = {
    WHOLE: (ImageTask(), None),
    WAITED: (ImageTask(delay=DELAYS[-1]), 7),
}
#: Where a slow state may sit: words for a case, the network, and its options.
_FROZEN = {"tau_mode": "frozen"}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("plain", {}),
    "leaky read-out": ("plain", {"readout": "leaky"}),
    "synapse, tau frozen at 2": ("stateful-synapse", _FROZEN),
    "synapse, tau frozen at 26": ("stateful-synapse", _FROZEN | {"tau": 26.0}),
    "synapse, tau learned": ("stateful-synapse", {}),
    "summing read-out, tau frozen at 26": ("plain", _FROZEN | {"readout": "summing", "tau": 26.0}),
    "summing read-out, tau learned": ("plain", {"readout": "summing"}),
}
#: A slow state in two places with the same tau: both add what arrives, and neither divides it by tau.
_PLACES = [(f"synapse, tau {how}", f"summing read-out, tau {how}") for how in ("frozen at 26", "learned")]
#: Networks with as many parameters.
SIZED = {f"plain with {MATCHED} neurons": ("plain", MATCHED), "feedback": ("feedback", 32)}
#: fc1 and the weights from x[t] are two linear layers in a row, which compute no more than one: so counted, feedback
#: has 2,282 numbers, and this one 2,272.
NARROW = "plain with 58 neurons"
#: Groups by the synapse, the factor on its outputs, and words for it. An isolated spike passes a charge of tau in all,
#: so each has the gain of the other tau at times 1.
_GAINS = {
    "gain-2": ("synapse, tau frozen at 2", 13.0, "outputs times 13"),
    "gain-26": ("synapse, tau frozen at 26", 1 / 13, "outputs times 1/13"),
}
#: What runs: as little as decides the questions below.
_RUNS: dict[str, tuple[tuple[str, float], ...]] = {
    WAITED: (
        ("synapse, tau frozen at 2", 1.0), ("plain", 1.0), ("leaky read-out", 1.0), ("synapse, tau learned", 10.0),
        ("plain", 10.0), ("leaky read-out", 10.0), ("synapse, tau learned", 1.0), ("synapse, tau frozen at 26", 1.0),
    ),
    WHOLE: (
        ("plain", 1.0), ("synapse, tau learned", 10.0), ("plain", 10.0), ("synapse, tau learned", 1.0),
    ),
}  # fmt: skip


def _name(words: str, scale: float) -> str:
    return f"{words}, outputs times {scale:.0f}"


def _case(shown: str, words: str, scale: float) -> Case:
    kind, options = NETWORKS[words]
    task, last = _SHOWN[shown]
    network = NetworkSpec(kind, **{"readout": "membrane", "scale": scale, "last": last} | options)
    return Case(_name(words, scale), kind, Spec(network, task, STABLE), SEEDS, first=FIRST)


def _cases(shown: str, records: Records) -> Iterable[Case]:
    """Return the cases of an image and a wait; what the first study has run is taken from there."""
    known = {
        case.runs()[0].key(): case
        for group in ABLATION.groups.values()
        for case in group(records)
        if case.seeds == 10
    }
    for words, scale in _RUNS[shown]:
        case = _case(shown, words, scale)
        old = known.get(case.spec.with_seed(0).key())
        yield dataclasses.replace(old, name=case.name, at=None) if old else case


def waited(records: Records) -> Iterable[Case]:
    """After 56 blank columns: which slow state is needed, must it be learned, and at which scale of the outputs?"""
    yield from _cases(WAITED, records)


def whole(records: Records) -> Iterable[Case]:
    """Without a wait: does the scale of the outputs decide between synapse and plain?"""
    yield from _cases(WHOLE, records)


def gated(_: Records) -> Iterable[Case]:
    """After 56 blank columns: the reference without spikes, of the size of the feedback network."""
    spec = Spec(NetworkSpec("gru", hidden=20), ImageTask(delay=DELAYS[-1]), STABLE)
    yield Case("GRU", "gru", spec, 5, first=FIRST)


@dataclasses.dataclass(frozen=True)
class ChronoSpec(NetworkSpec):
    """A network whose gates begin by chrono initialisation."""

    t_max: int = option(84, "the longest time to keep a state for, in time steps", 2)

    def build(self, task: Any = None) -> nn.Module:
        net = super().build(task)
        for part in net.modules():
            if isinstance(part, nn.RNNBase):
                chrono(part, self.t_max)
        return net


def gated_start(_: Records) -> Iterable[Case]:
    """After 56 blank columns: is it the GRU or its start? Asked for after the runs of the GRU were seen."""
    spec = Spec(ChronoSpec("gru", hidden=20), ImageTask(delay=DELAYS[-1]), STABLE)
    yield Case("GRU, chrono initialisation", "gru", spec, 5, first=FIRST)


def summed(_: Records) -> Iterable[Case]:
    """After 56 blank columns: is a read-out as good as a synapse, if it adds what arrives as a synapse does?"""
    for _, words in _PLACES:
        yield dataclasses.replace(_case(WAITED, words, 1.0), first=FIRST_NEW)


def _sized(words: str, kind: str, hidden: int) -> Case:
    network = NetworkSpec(kind, hidden=hidden, readout="membrane")
    return Case(_name(words, 1.0), kind, Spec(network, ImageTask(), STABLE), SEEDS, first=FIRST_NEW)


def sized(_: Records) -> Iterable[Case]:
    """On the whole image, outputs times 1: is feedback above a plain network with as many parameters?"""
    for words, (kind, hidden) in SIZED.items():
        yield _sized(words, kind, hidden)


def narrow(_: Records) -> Iterable[Case]:
    """The same with a plain network that computes as many numbers."""
    yield _sized(NARROW, "plain", 58)


def _gain(words: str, scale: float, factor: str) -> Group:
    def group(_: Records) -> Iterable[Case]:
        """After 56 blank columns: is it that the synapse is slow, or that a slow one passes more charge for a spike?"""
        yield dataclasses.replace(_case(WAITED, words, scale), name=f"{words}, {factor}", first=FIRST_NEW)

    return group


def slow_start(_: Records) -> Iterable[Case]:
    """After 56 blank columns: how far is the synapse below the GRU, if it begins as slow as the GRU's gates do?"""
    for scale in reversed(SCALES):
        case = _case(WAITED, "synapse, tau learned", scale)
        network = dataclasses.replace(case.spec.network, tau=float(ChronoSpec.t_max))
        name = _name("synapse, tau learned from 84", scale)
        yield dataclasses.replace(
            case, name=name, spec=dataclasses.replace(case.spec, network=network), first=FIRST_NEW
        )


def _questions() -> dict[str, tuple[Place, Place]]:
    def at(group: str, words: str, scale: float) -> Place:
        return group, _name(words, scale), NETWORKS[words][0]

    learned = "synapse, tau learned"
    pairs = [
        ("waited", WAITED, 1.0, "plain", "synapse, tau frozen at 2"),
        ("waited", WAITED, 1.0, "synapse, tau frozen at 2", learned),
        ("waited", WAITED, 1.0, "synapse, tau frozen at 26", learned),
        *(("waited", WAITED, scale, "plain", learned) for scale in SCALES),
        *(("waited", WAITED, scale, learned, "leaky read-out") for scale in SCALES),
        *(("whole", WHOLE, scale, "plain", learned) for scale in SCALES),
    ]
    asked = {
        f"{b} over {a}, {shown}, outputs times {scale:.0f}": (at(group, a, scale), at(group, b, scale))
        for group, shown, scale, a, b in pairs
    }
    for words, scale in ((learned, 1.0), ("leaky read-out", 10.0)):
        asked[f"GRU over {words}, {WAITED}"] = at("waited", words, scale), ("gated-waited", "GRU", "gru")
    summing = _PLACES[-1][1]
    for a, b in (*_PLACES, ("leaky read-out", summing)):
        asked[f"{b} over {a}, {WAITED}, outputs times 1"] = at("waited", a, 1.0), at("summed", b, 1.0)
    wide, b = (("sized", _name(words, 1.0), kind) for words, (kind, _) in SIZED.items())
    for a in (wide, ("narrow", _name(NARROW, 1.0), "plain")):
        asked[f"feedback over {a[1].partition(',')[0]}, {WHOLE}, outputs times 1"] = a, b
    fast, slow = (
        (group, f"{words}, {factor}", "stateful-synapse") for group, (words, _, factor) in _GAINS.items()
    )
    for a, b in (
        (at("waited", "synapse, tau frozen at 2", 1.0), fast),
        (slow, at("waited", "synapse, tau frozen at 26", 1.0)),
        (fast, at("waited", "synapse, tau frozen at 26", 1.0)),
        (at("waited", "synapse, tau frozen at 2", 1.0), slow),
    ):
        asked[f"{b[1]} over {a[1]}, {WAITED}"] = a, b
    return asked


_GROUPS = {
    "waited": waited,
    "whole": whole,
    "gated-waited": gated,
    "gated-start": gated_start,
    "summed": summed,
    "sized": sized,
    **{group: _gain(*place) for group, place in _GAINS.items()},
    "narrow": narrow,
    "slow-start": slow_start,
}
WHERE = Study("where", _GROUPS, _questions(), pending=("slow-start",), after=ABLATION)
