"""The rule of torch's GradScaler without float16: an update whose scaled gradient float16 cannot hold is skipped."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

#: Largest number of float16.
LARGEST = 65_504.0


class SkipOverflow:
    """Takes the place of ``torch.amp.GradScaler`` in a loop in float32, with the methods that the loop calls.

    A step is skipped where an element of the gradient times the scale, before any clipping, is above 65,504 or not
    finite. The scale, 65,536 at first, is then halved; after 2,000 good steps in a row it is doubled.
    """

    def __init__(self) -> None:
        self._scale, self._good, self._overflows = 65_536.0, 0, False

    def scale(self, loss: Tensor) -> Tensor:
        """Return ``loss`` as it is: in float32 a gradient needs no factor."""
        return loss

    def unscale_(self, optimizer: torch.optim.Optimizer) -> None:
        """Look at the gradients of ``optimizer``, before they are clipped."""
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        largest = nn.utils.get_total_norm([w.grad for w in weights if w.grad is not None], torch.inf)
        self._overflows = not (largest.item() * self._scale <= LARGEST)  # so that NaN overflows, too

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Let ``optimizer`` take its step unless the gradient overflows."""
        if not self._overflows:
            optimizer.step()

    def update(self) -> None:
        """Halve or double the scale."""
        self._good = 0 if self._overflows else self._good + 1
        if self._overflows or self._good == 2_000:
            self._scale, self._good = self._scale * (0.5 if self._overflows else 2), 0

    def get_scale(self) -> float:
        """Return the scale of the next step."""
        return self._scale

    def state_dict(self) -> dict[str, Any]:
        """Return what :meth:`load_state_dict` needs."""
        return {"scale": self._scale, "good": self._good}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a :meth:`state_dict`."""
        self._scale, self._good = state["scale"], state["good"]
