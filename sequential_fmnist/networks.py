"""The three networks of the tutorial: feedforward, with a stateful synapse, and with feedback.

All read an image column by column: with 28 x 28 pixels there are T = 28 time steps of 28 features each. The
output is the firing rate of the ten read-out neurons, in [0, 1].
"""

from __future__ import annotations

from torch import Tensor, nn

from snn_core.checks import check_choice, check_shape, check_whole
from snn_core.functional import seq_to_ann_forward
from snn_core.layer import LinearRecurrentContainer, MultiStepContainer, SynapseFilter
from snn_core.neuron import IFNode, MultiStepIFNode
from snn_core.surrogate import ATan

__all__ = ["NETWORKS", "FeedBackNet", "PlainNet", "StatefulSynapseNet", "columns_as_sequence", "make_network"]

IN_FEATURES = 28
NUM_CLASSES = 10


def columns_as_sequence(images: Tensor) -> Tensor:
    """View images as sequences of their columns, the left one first.

    Args:
        images: ``[N, 1, H, W]``; not changed.

    Returns:
        ``[T, N, H]`` with T = W.

    Raises:
        TypeError: ``images`` is not a floating-point tensor.
        ValueError: ``images`` has another number of dimensions, or more than one channel.
    """
    check_shape("images", images, "N", 1, "H", "W")
    if not images.is_floating_point():
        raise TypeError(
            f"images must have a floating-point dtype, got {images.dtype}: use images.float() / 255"
        )
    return images.squeeze(1).permute(2, 0, 1)


class PlainNet(nn.Module):
    """Feedforward network: Linear -> IF -> Linear -> IF, 1,258 parameters at the default size.

    Args:
        hidden: number of hidden neurons.
        backend: how sequences run, one of :data:`snn_core.backend.BACKENDS`.

    Shapes: images ``[N, 1, 28, 28]`` to firing rates ``[N, 10]``.

    Raises:
        TypeError: ``hidden`` is not a whole number, or images have another dtype than the weights.
        ValueError: ``hidden`` below 1, an unknown backend, or images of another shape or on another device.
    """

    def __init__(self, hidden: int = 32, backend: str = "auto") -> None:
        super().__init__()
        hidden = check_whole("hidden", hidden, 1)
        self.backend = backend
        self.fc1 = nn.Linear(IN_FEATURES, hidden)
        self.sn1 = MultiStepIFNode(surrogate_function=ATan(), detach_reset=True, backend=backend)
        self.fc2 = nn.Linear(hidden, NUM_CLASSES)
        self.sn2 = MultiStepIFNode(surrogate_function=ATan(), detach_reset=True, backend=backend)

    def forward(self, x: Tensor) -> Tensor:
        x = columns_as_sequence(x)  # [T, N, 28]
        x = seq_to_ann_forward(x, self.fc1, self.backend)  # [T, N, hidden]
        x = self.sn1(x)
        x = seq_to_ann_forward(x, self.fc2, self.backend)  # [T, N, 10]
        x = self.sn2(x)
        return x.mean(0)


class StatefulSynapseNet(nn.Module):
    """:class:`PlainNet` with a learnable synapse filter after the hidden neurons, 1,259 parameters.

    Arguments and shapes are those of :class:`PlainNet`.
    """

    def __init__(self, hidden: int = 32, backend: str = "auto") -> None:
        super().__init__()
        hidden = check_whole("hidden", hidden, 1)
        self.backend = backend
        self.fc1 = nn.Linear(IN_FEATURES, hidden)
        self.sn1 = MultiStepIFNode(surrogate_function=ATan(), detach_reset=True, backend=backend)
        self.sy1 = MultiStepContainer(SynapseFilter(tau=2.0, learnable=True, backend=backend))
        self.fc2 = nn.Linear(hidden, NUM_CLASSES)
        self.sn2 = MultiStepIFNode(surrogate_function=ATan(), detach_reset=True, backend=backend)

    def forward(self, x: Tensor) -> Tensor:
        x = columns_as_sequence(x)  # [T, N, 28]
        x = seq_to_ann_forward(x, self.fc1, self.backend)  # [T, N, hidden]
        x = self.sn1(x)
        x = self.sy1(x)
        x = seq_to_ann_forward(x, self.fc2, self.backend)  # [T, N, 10]
        x = self.sn2(x)
        return x.mean(0)


class FeedBackNet(nn.Module):
    """:class:`PlainNet` with a linear recurrent connection around the hidden neurons, 3,338 parameters.

    Arguments and shapes are those of :class:`PlainNet`.
    """

    def __init__(self, hidden: int = 32, backend: str = "auto") -> None:
        super().__init__()
        hidden = check_whole("hidden", hidden, 1)
        self.backend = backend
        self.fc1 = nn.Linear(IN_FEATURES, hidden)
        self.sn1 = MultiStepContainer(
            LinearRecurrentContainer(
                IFNode(surrogate_function=ATan(), detach_reset=True, backend=backend), hidden, hidden
            )
        )
        self.fc2 = nn.Linear(hidden, NUM_CLASSES)
        self.sn2 = MultiStepIFNode(surrogate_function=ATan(), detach_reset=True, backend=backend)

    def forward(self, x: Tensor) -> Tensor:
        x = columns_as_sequence(x)  # [T, N, 28]
        x = seq_to_ann_forward(x, self.fc1, self.backend)  # [T, N, hidden]
        x = self.sn1(x)
        x = seq_to_ann_forward(x, self.fc2, self.backend)  # [T, N, 10]
        x = self.sn2(x)
        return x.mean(0)


#: The three networks by the names that the command line uses, in the order of the tutorial.
NETWORKS: dict[str, type[nn.Module]] = {
    "plain": PlainNet,
    "stateful-synapse": StatefulSynapseNet,
    "feedback": FeedBackNet,
}


def make_network(model: str, hidden: int = 32, backend: str = "auto") -> nn.Module:
    """Build one of :data:`NETWORKS` by its name.

    Raises:
        TypeError: ``hidden`` is not a whole number.
        ValueError: an unknown ``model`` or ``backend``, or ``hidden`` below 1.
    """
    return NETWORKS[check_choice("model", model, tuple(NETWORKS))](hidden=hidden, backend=backend)
