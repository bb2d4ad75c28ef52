"""A neuron that snn_core does not have, written as docs/howto/my_neuron.md says: what a user's own equations cost."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from snn_core.cells import Cell
from snn_core.module import CellModule
from snn_core.surrogate import ATan, SurrogateFunction


@dataclass(eq=False)
class _Resonator(Cell):
    """u[t] = (1 - b) u[t-1] - w v[t-1] + x[t], v[t] = (1 - b) v[t-1] + w u[t-1], s[t] = 1 where v[t] >= 1 + a[t-1].

    The threshold rises by a[t] = 0.9 a[t-1] + beta s[t]; nothing is reset.
    """

    b: float
    w: float
    beta: Tensor
    surrogate_function: SurrogateFunction

    @property
    def initial(self) -> tuple[float, ...]:
        return 0.0, 0.0, 0.0

    def step(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        u, v, a = state
        u, v = (1 - self.b) * u - self.w * v + x, (1 - self.b) * v + self.w * u
        s = self.surrogate_function(v - 1 - a)
        return s, (u, v, 0.9 * a + self.beta * s)


class Resonator(CellModule):
    """Resonate-and-fire with a threshold that rises by the trained beta at a spike."""

    states = ("u", "v", "a")

    def __init__(self, backend: str = "auto") -> None:
        super().__init__(backend)
        self.beta, self.surrogate_function = nn.Parameter(Tensor([0.2])), ATan()

    def cell(self, like: Tensor) -> Cell:
        return _Resonator(0.05, 0.3, self.beta.to(like.dtype), self.surrogate_function)
