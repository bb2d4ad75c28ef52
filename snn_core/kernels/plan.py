"""The plan of a scan: the stages through which kernels take a sequence, and what follows from them."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from snn_core.kernels.limits import MOST_STATES
from snn_core.kernels.record.equations import MOST_KEPT, Program, joined, joined_numbers, pack

#: The bit of :attr:`Kind.stored` that stands for the outputs; that of a state is 1 << its number.
OUTPUT_NUMBER = MOST_STATES
OUTPUT = 1 << OUTPUT_NUMBER


#: The packed numbers of a linear layer.
NO_NUMBERS = pack((), ())


class _Fields(NamedTuple):
    shape: tuple[int, ...]
    inputs: int
    outputs: int
    program: Program | None = None
    stored: int = 0
    sizes: tuple[int, ...] = ()
    feedback: int = 0
    taps: int = 0


class Kind(_Fields):
    """What kernels know about a stage besides tensors and numbers: :class:`Linear`, :class:`Cell`, :class:`Feedback`.

    A kind says here what its tensors are, how many numbers each has, and how much memory it needs; what it computes is
    a function in ``engine/plan.h`` and one in ``cuda/plan.cu``.

    Args:
        shape: of a time step of its outputs and of each state, ``[N, *]``.
        inputs, outputs: the numbers of a row before and after it; rows are those of the last dimension, or samples.
        program: that of a cell.
        stored: a bit for each state, and one for the outputs, of which a scan returns all steps.
        sizes: of its parameters.
        feedback: how many outputs y[t-1], ..., y[t-D] go back through a linear layer with the weight [J, 2 J].
        taps: 1 if those of each neuron are first added up by taps [D, J]; else D is 1.
    """

    __slots__ = ()
    #: As kernels number it, and whether it connects neurons.
    number: ClassVar[int]
    is_dense: ClassVar[bool] = False

    @property
    def states(self) -> int:
        return self.program.code.states if self.program else 0

    @property
    def products(self) -> int:
        """Numbers of its weight matrix, which are multiplications of one sample in one step, too."""
        return 0

    @property
    def width(self) -> int:
        """Numbers that the backward pass must know of one sample and step: the output; of cells the state, too."""
        return (1 + self.states) * self.outputs

    @property
    def seqs(self) -> list[int]:
        """The numbers of the states of which a scan returns all steps; the outputs count as MOST_STATES."""
        return [k for k in range(MOST_STATES + 1) if self.stored >> k & 1]

    def tensors(self) -> list[tuple[str, int]]:
        """Return the tensors in their order: the field of each, see ``fields.py``, and its place there.

        Their gradients lie in this order, too, those of states apart.
        """
        raise NotImplementedError

    def size(self, name: str, place: int) -> int:
        """Return how many numbers a tensor has that is no state."""
        sizes = {"WEIGHT": self.products, "BIAS": self.outputs, "TAP": self.feedback * self.outputs}
        return self.sizes[place] if name == "PARAMETER" else sizes[name]

    def matrices(self) -> dict[str, tuple[int, int]]:
        """Return the matrices that a product on the CPU takes packed, by their fields: terms and columns."""
        return {}

    def room(self, L: int) -> tuple[dict[str, int], dict[str, int]]:
        """Return how many numbers of each sample the CPU's arrays have for L steps, by field, forward and back."""
        return {"Y": (L + 1) * self.outputs}, {}

    def then(self, second: Kind) -> Kind | None:
        """Return two cells as one, so that what lies between them stays in registers; None if that is not possible."""
        return None


class Linear(Kind):
    """A linear layer on all steps at once: :math:`y[t] = W x[t] + b`, with W ``[J, I]``."""

    __slots__ = ()
    number, is_dense = 0, True

    @property
    def products(self) -> int:
        return self.inputs * self.outputs

    def tensors(self) -> list[tuple[str, int]]:
        return [("WEIGHT", 0), ("BIAS", 0)]

    def matrices(self) -> dict[str, tuple[int, int]]:
        I_, J = self.inputs, self.outputs
        return {"TO_Y": (I_, J), "FROM_Y": (J, I_), "PACKED_BIAS": (1, J)}


class Cell(Kind):
    """A cell step by step, each neuron by itself."""

    __slots__ = ()
    number = 1

    def tensors(self) -> list[tuple[str, int]]:
        return [("FIRST", k) for k in range(self.states)] + self._parameters()

    def _parameters(self) -> list[tuple[str, int]]:
        return [("PARAMETER", k) for k in range(len(self.sizes))]

    def room(self, L: int) -> tuple[dict[str, int], dict[str, int]]:
        J, S, P = self.outputs, self.states, len(self.sizes)
        return {"Y": (L + 1) * J, "V": (L + 1) * S * J, "P": P * J}, {"GV": S * J, "GP": P * J}

    def then(self, second: Kind) -> Kind | None:
        if type(second) is not Cell or self.stored & OUTPUT:
            return None
        program = joined(self.program, second.program)
        if program is None:
            return None
        stored = self.stored | (second.stored & ~OUTPUT) << self.states | second.stored & OUTPUT
        return self._replace(program=program, stored=stored, sizes=self.sizes + second.sizes)


class Feedback(Cell):
    """A cell whose outputs go back: it gets :math:`W [x[t]; z[t]] + b`, with W ``[J, 2 J]``.

    z[t] is y[t-1], or, with taps, :math:`\\sum_d tap_d\\, y[t-1-d]` of each neuron.
    """

    __slots__ = ()
    number, is_dense = 2, True

    @property
    def products(self) -> int:
        return 2 * self.outputs * self.outputs

    @property
    def width(self) -> int:
        return super().width + (2 + self.taps) * self.outputs

    def tensors(self) -> list[tuple[str, int]]:
        roles = [
            *[("FIRST", k) for k in range(self.states)],
            ("FIRST", MOST_STATES),
            ("WEIGHT", 0),
            ("BIAS", 0),
        ]
        return [*roles, *[("TAP", 0)] * self.taps, *self._parameters()]

    def matrices(self) -> dict[str, tuple[int, int]]:
        square = self.outputs, self.outputs
        return dict.fromkeys(("TO_Y", "FROM_Y", "OF_Y", "FROM_OF_Y"), square) | {
            "PACKED_BIAS": (1, self.outputs)
        }

    def room(self, L: int) -> tuple[dict[str, int], dict[str, int]]:
        (forward, back), J, D = super().room(L), self.outputs, self.feedback
        forward |= {"Y": (L + D) * J, "CURRENT": L * J, "Z": L * J * self.taps}
        return forward, back | {"GY": (L + D) * J, "GZ": J * self.taps}

    def then(self, second: Kind) -> Kind | None:
        return None


class Stage(NamedTuple):
    """A linear layer or a cell on its way from a module to kernels.

    Args:
        kind: what a plan depends on.
        numbers: the first values of its states and the constants of its program, packed; see :data:`NO_NUMBERS`.
        tensors: in the order of :meth:`Kind.tensors`. States before the first step, of shape ``[N, *]``, and the
            outputs that go back, ``[D, N, *]``, are None where they begin at their first values; so is a missing bias.
        places: where its states are kept: the module, the name, and the dimension of its steps for those outputs.
        recorders: for each state or output of which all steps are returned the lists that get them.
    """

    kind: Kind
    numbers: bytes
    tensors: Sequence[Tensor | None]
    places: Sequence[tuple[Any, str, int | None]] = ()
    recorders: Sequence[Sequence[list[Tensor]]] = ()


def in_series(first: Stage, second: Stage) -> Stage | None:
    """Return two cells as one stage, see :meth:`Kind.then`."""
    kind = first.kind.then(second.kind)
    if kind is None:
        return None
    a, b = first.kind.states, second.kind.states
    return Stage(
        kind,
        joined_numbers(first.kind.program, second.kind.program, first.numbers, second.numbers),
        (*first.tensors[:a], *second.tensors[:b], *first.tensors[a:], *second.tensors[b:]),
        (*first.places, *second.places),
        (*first.recorders, *second.recorders),
    )


def in_memory(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return ``tensor`` in ``dtype`` as numbers that lie side by side in memory, where a kernel reads them."""
    # Autograd's zeros have no memory, and a negative view holds the numbers with the other sign.
    if tensor._is_zerotensor():
        return torch.zeros(tensor.shape, dtype=dtype, device=tensor.device)
    return tensor.resolve_neg().to(dtype).contiguous()


class Plan:
    """Stages for sequences of T steps of one dtype, and what follows from them; :func:`plan_of` makes it once.

    Neighbours that are cells without feedback become one stage, so that what lies between them stays in registers.
    """

    def __init__(self, given: tuple[Kind, ...], T: int, dtype: torch.dtype) -> None:
        self.T, self.dtype = T, dtype
        #: The dtype in which kernels compute: half precisions are widened.
        self.compute = torch.float64 if dtype == torch.float64 else torch.float32
        #: How many of the stages that are given are in each of the plan, and where each of its tensors comes from.
        kinds, self.groups, self.order = _merged(given)
        #: Whether a sample is a row of neurons that are connected, and not a single neuron.
        self.is_dense = any(kind.is_dense for kind in kinds)
        self.kinds = kinds if self.is_dense else tuple([kind._replace(inputs=1, outputs=1) for kind in kinds])
        first, last = self.kinds[0], self.kinds[-1]
        self.N = math.prod(last.shape) // last.outputs if last.outputs else math.prod(last.shape[:-1])
        #: The shapes of the input and the output as kernels have them.
        self.rows, self.y_rows = (T, self.N, first.inputs), (T, self.N, last.outputs)
        #: Of each tensor its stage, field and place; the shapes of those that are states; which an equation uses.
        self.tensors = [(k, *one) for k, kind in enumerate(kinds) for one in kind.tensors()]
        self.state_shapes = [
            _state_shape(kinds[k], place) for k, name, place in self.tensors if name == "FIRST"
        ]
        self.used = [used for kind in kinds for used in _used(kind)]
        #: The stage and the place of what is returned of all steps; the shapes of all results for the caller.
        self.seqs = [(k, place) for k, kind in enumerate(kinds) for place in kind.seqs]
        self.result_shapes = [
            (T, *last.shape),
            *self.state_shapes,
            *[(T, *kinds[k].shape) for k, _ in self.seqs],
        ]
        self._numbers: dict[Any, array[float]] = {}

    def arranged(self, stages: Sequence[Stage]) -> list[Tensor | None]:
        """Return the tensors of all stages in the order of the plan's."""
        given = [one for stage in stages for one in stage.tensors]
        return given if self.order is None else [given[k] for k in self.order]

    def numbers(self, stages: Sequence[Stage]) -> array[float]:
        """Return the numbers of all stages as kernels take them, a row each, one after the other."""
        key = tuple([stage.numbers for stage in stages])
        packed = self._numbers.get(key)
        if packed is None:
            left, packed = iter(key), array("d" if self.compute == torch.float64 else "f")
            for group in self.groups:
                program, numbers = group[0].program, next(left)
                for kind in group[1:]:
                    numbers = joined_numbers(program, kind.program, numbers, next(left))
                    program = joined(program, kind.program)
                packed.extend(array("d", numbers).tolist())
            if len(self._numbers) >= MOST_KEPT:
                self._numbers.clear()
            self._numbers[key] = packed
        return packed

    def of_states(self, values: Sequence[Any]) -> list[Any]:
        """Return of values for all tensors those for states."""
        return [one for one, (_, name, _) in zip(values, self.tensors, strict=True) if name == "FIRST"]

    @lru_cache(maxsize=64)  # noqa: B019  # plans are kept anyway
    def require_gradients(self, needs: tuple[bool, ...]) -> list[bool]:
        """Say of each result whether it requires a gradient, as in the loop; ``needs`` says it of x_seq and tensors."""
        x_needs, *left = needs
        lasts: list[bool] = []
        seqs: list[bool] = []
        for kind in self.kinds:
            needed = dict(zip(kind.tensors(), left, strict=False))
            left = left[len(needed) :]
            x_needs |= any(needed.get((name, 0), False) for name in ("WEIGHT", "BIAS", "TAP"))
            if kind.program is None:
                continue
            known = {f"p{k}": needed["PARAMETER", k] for k in range(len(kind.sizes))}
            now = [
                needed.get(("FIRST", MOST_STATES), False),
                *[needed["FIRST", k] for k in range(kind.states)],
            ]
            ever = [False] * len(now)
            for _ in range(self.T):
                known |= {f"v{k}": need for k, need in enumerate(now[1:])}
                known["x"] = x_needs or (now[0] and kind.feedback > 0)
                before, now = now, [any(known[name] for name in names) for names in kind.program.reaches]
                ever = [a or b for a, b in zip(ever, now, strict=True)]
                if now == before:
                    break
            x_needs = ever[0]
            lasts += [*now[1:], *[now[0]] * (kind.feedback > 0)]
            seqs += [ever[0 if k == MOST_STATES else 1 + k] for k in kind.seqs]
        return [x_needs, *lasts, *seqs]


def _merged(given: Sequence[Kind]) -> tuple[tuple[Kind, ...], list[list[Kind]], list[int] | None]:
    """Return the stages of a plan, those that are given of which each is made, and from where each tensor comes.

    The latter is None if all stay in their order.
    """
    kinds: list[Kind] = []
    groups: list[list[Kind]] = []
    places: list[list[list[int]]] = []  # of the states and of the other tensors of each group
    at = 0
    for kind in given:
        count = len(kind.tensors())
        indices = list(range(at, at + count))
        both = kinds[-1].then(kind) if kinds else None
        if both:
            groups[-1].append(kind)
            kinds[-1] = both
        else:
            groups.append([kind])
            kinds.append(kind)
            places.append([[], []])
        places[-1][0] += indices[: kind.states]
        places[-1][1] += indices[kind.states :]
        at += count
    order = [k for states, others in places for k in (*states, *others)]
    return tuple(kinds), groups, None if order == list(range(at)) else order


def _state_shape(kind: Kind, place: int) -> tuple[int, ...]:
    return (kind.feedback, *kind.shape) if place == MOST_STATES and kind.feedback > 1 else kind.shape


def _used(kind: Kind) -> list[bool]:
    """Say of each tensor whether an equation uses it. A parameter that none uses has no gradient, not even 0."""
    count = len(kind.tensors()) - len(kind.sizes)
    gradients = kind.program.code.gradients[1 + kind.states :] if kind.program else ()
    return [True] * count + [name != "zero" for name in gradients]


@lru_cache(maxsize=256)
def plan_of(kinds: tuple[Kind, ...], T: int, dtype: torch.dtype) -> Plan:
    """Return the plan of these stages; the same one every time."""
    return Plan(kinds, T, dtype)


def plan_for(run: Sequence[Stage], x_seq: Tensor) -> Plan:
    """Return the plan of stages for a sequence."""
    return plan_of(tuple([stage.kind for stage in run]), x_seq.shape[0], x_seq.dtype)
