"""The rule of torch's GradScaler without float16: an update whose scaled gradient float16 cannot hold is skipped."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

#: Largest number of float16.
LARGEST = 65_504.0


class SkipOverflow:
    """Takes the place of ``torch.amp.GradScaler`` in a loop in float32, with the methods that the loop calls.

    A step is skipped where an element of the gradient times ``scale``, before any clipping, is above 65,504 or not
    finite. The scale, 65,536 at first, is then halved; after 2,000 good steps in a row it is doubled.

    Attributes:
        scale_now: the scale of the next step.
        good: good steps since the scale last changed.
    """

    def __init__(self) -> None:
        self.scale_now, self.good = 65_536.0, 0
        self._overflows: bool | None = None

    def scale(self, loss: Tensor) -> Tensor:
        """Return ``loss`` as it is: in float32 a gradient needs no factor."""
        return loss

    def unscale_(self, optimizer: torch.optim.Optimizer) -> None:
        """Look at the gradients of ``optimizer``."""
        found = [weight.grad for group in optimizer.param_groups for weight in group["params"]]
        largest = torch.nn.utils.get_total_norm([one for one in found if one is not None], torch.inf)
        self._overflows = not (largest.item() * self.scale_now <= LARGEST)  # NaN overflows too

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Let ``optimizer`` take its step unless the gradient overflows."""
        if self._overflows is None:
            self.unscale_(optimizer)
        if not self._overflows:
            optimizer.step()

    def update(self) -> None:
        """Halve or double the scale."""
        self.good = 0 if self._overflows else self.good + 1
        if self._overflows or self.good == 2_000:
            self.scale_now, self.good = self.scale_now * (0.5 if self._overflows else 2), 0
        self._overflows = None

    def get_scale(self) -> float:
        """Return the scale of the next step."""
        return self.scale_now

    def state_dict(self) -> dict[str, Any]:
        """Return what :meth:`load_state_dict` needs."""
        return {"scale": self.scale_now, "good": self.good}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a :meth:`state_dict`."""
        self.scale_now, self.good = state["scale"], state["good"]
