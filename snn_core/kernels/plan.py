"""The plan of a scan: the stages through which a kernel takes a sequence, and what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from snn_core.kernels.limits import MOST_CONSTANTS, MOST_STATES
from snn_core.kernels.record.symbols import Program, constant_when_compiled, parse

#: Numbers of a stage: the first values of its states, and the constants of its program.
NUMBERS = MOST_STATES + MOST_CONSTANTS
#: The bit of :attr:`Stage.stored` that stands for the outputs; that of a state is 1 << its number.
OUTPUT = 1 << MOST_STATES
#: Samples of a block on the CPU, two or four times as many where a matrix of this many numbers is too large for a
#: core's cache and is read anew for each; neurons of a block where none are connected.
SAMPLES, LARGE, COLUMNS = 16, 1 << 18, 256
#: Numbers that a block may have in a core's cache, and the fewest steps of a segment nevertheless.
SCRATCH, FEWEST_STEPS = 1 << 20, 8


class Stage(NamedTuple):
    """What a kernel must know about a stage besides its tensors and numbers.

    ``program`` is that of a cell, or None for a linear layer. ``feedback`` says how many outputs y[t-1], ..., y[t-D] go
    back through a linear layer with the weight [J, 2 J]. If ``taps`` is 1 those of each neuron are first added up by
    taps [D, J], else D is 1. Tensors of a linear stage are weight and bias; those of a cell its
    states, with feedback the outputs [D, N, J], weight, bias and, if there are, taps; then its parameters. ``stored``
    has a bit for each state, and one for the outputs, of which a scan returns all steps.
    """

    program: Program | None
    feedback: int
    taps: int
    inputs: int
    outputs: int
    stored: int = 0

    @property
    def states(self) -> int:
        return self.program.states if self.program else 0

    @property
    def parameters(self) -> int:
        return self.program.parameters if self.program else 0

    @property
    def tensors(self) -> int:
        if self.program is None:
            return 2
        return self.states + (3 + self.taps) * (self.feedback > 0) + self.parameters

    @property
    def used(self) -> tuple[bool, ...]:
        """Whether an equation uses each of its tensors. A parameter that none uses has no gradient, not even 0."""
        names = self.program.gradients[1 + self.states :] if self.program else ()
        return *(True,) * (self.tensors - len(names)), *[name != "zero" for name in names]

    @property
    def is_dense(self) -> bool:
        return self.program is None or self.feedback > 0

    @property
    def products(self) -> int:
        """Numbers of its weight matrix, which are multiplications of one sample in one step, too."""
        if self.program is None:
            return self.inputs * self.outputs
        return 2 * self.outputs * self.outputs if self.feedback else 0

    @property
    def state_size(self) -> int:
        """Numbers of one sample's states, the outputs that go back among them."""
        return (self.states + self.feedback) * self.outputs

    @property
    def seqs(self) -> list[int]:
        """The numbers of the states of which a scan returns all steps; the outputs count as MOST_STATES."""
        return [k for k in range(MOST_STATES + 1) if self.stored >> k & 1]

    def with_outputs(self) -> Stage:
        """Return the stage that stores its outputs, too."""
        return self._replace(stored=self.stored | OUTPUT)

    def numbers(self, firsts: Sequence[float], constants: Sequence[float]) -> tuple[float, ...]:
        """Return the first values of its states and the constants of its program as a scan takes them."""
        rooms = (0.0,) * (MOST_STATES - len(firsts)), (0.0,) * (MOST_CONSTANTS - len(constants))
        return *firsts, *rooms[0], *constants, *rooms[1]

    def then(self, second: Stage) -> Stage | None:
        """Return two cells as one, so that what lies between them stays in registers; None if that is not possible."""
        has_feedback = self.feedback > 0 or second.feedback > 0
        if self.program is None or second.program is None or has_feedback or self.stored & OUTPUT:
            return None
        program = _joined(self.program.text, second.program.text)
        if program is None:
            return None
        of_second = (second.stored & ~OUTPUT) << self.states | second.stored & OUTPUT
        return self._replace(program=program, stored=self.stored | of_second)

    @property
    def width(self) -> int:
        """Numbers that the backward pass must know of one sample and step: the output; of cells the state, too."""
        return (1 + self.states + 2 * (self.feedback > 0) + self.taps) * self.outputs


@constant_when_compiled  # else torch.compile follows the cache, and warns; it cannot hand on programs
def _joined(first: str, second: str) -> Program | None:
    return _join(first, second)


@lru_cache(maxsize=1024)
def _join(first: str, second: str) -> Program | None:
    both = parse(first).then(parse(second))
    return None if both.misses else both


class Plan:
    """Stages, and what follows from them; :func:`plan_of` gives the same plan for the same stages."""

    def __init__(self, stages: tuple[Stage, ...]) -> None:
        self.stages = stages
        self.tensors = sum(stage.tensors for stage in stages)
        self.used = tuple([used for stage in stages for used in stage.used])
        self.state_size = sum(stage.state_size for stage in stages)
        #: Numbers of one sample and step that a scan returns besides its outputs.
        self.seq_sizes = [stage.outputs for stage in stages for _ in stage.seqs]
        #: Whether a sample is a row of neurons that are connected, and not a single neuron.
        self.is_dense = any(stage.is_dense for stage in stages)
        self.is_large = max(stage.products for stage in stages) >= LARGE
        self.widest = max(max(stage.inputs, stage.outputs) for stage in stages)
        self.width = stages[0].inputs + sum(stage.width for stage in stages) + 2 * self.widest
        #: What the kernels for the CPU know of each shape that they have met.
        self.layouts: dict[Any, Any] = {}
        self.flat = flat(stages)

    def samples(self, N: int) -> int:
        """Return how many of N samples make a block on the CPU."""
        if not self.is_dense:
            return COLUMNS
        if not self.is_large:
            return SAMPLES
        return 4 * SAMPLES if N >= 8 * SAMPLES else 2 * SAMPLES

    def segments(self, T: int, N: int) -> tuple[int, int]:
        """Return the steps of a segment of T, and how many borders there are between segments.

        States are kept at the borders, and the backward pass computes a segment forward again.
        """
        steps = max(min(T, SCRATCH // (self.width * self.samples(N))), min(T, FEWEST_STEPS))
        steps = -(-T // -(-T // steps))
        return steps, -(-T // steps) - 1


def flat(stages: Sequence[Stage]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return stages in flat lists, as an op of torch takes them."""
    texts = tuple([stage.program.text if stage.program else "linear" for stage in stages])
    return texts, tuple([size for stage in stages for size in stage[1:]])


@lru_cache(maxsize=256)
def plan_of(stages: tuple[Stage, ...]) -> Plan:
    """Return the plan of these stages; the same one every time."""
    return Plan(stages)


@lru_cache(maxsize=256)
def parsed(texts: tuple[str, ...], sizes: tuple[int, ...]) -> Plan:
    """Return the plan of stages that :func:`flat` wrote.

    Raises:
        ValueError: a text is not a program.
    """
    programs = [None if text == "linear" else parse(text) for text in texts]
    return plan_of(tuple([Stage(program, *sizes[5 * k : 5 * k + 5]) for k, program in enumerate(programs)]))
