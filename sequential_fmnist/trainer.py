"""A network in training: steps, epochs, and the state from which a run resumes."""

from __future__ import annotations

import dataclasses
import math
import random
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from sequential_fmnist.batches import ImageData, all_images, batches
from sequential_fmnist.checkpoint import CheckpointError, check_shapes, restore_rng, rng_state
from sequential_fmnist.config import TrainingConfig
from sequential_fmnist.distributed import ALONE, Ranks
from sequential_fmnist.evaluation import LOSSES, Mean, at_least_single, autocast
from sequential_fmnist.memory import keep_freed_memory
from sequential_fmnist.networks import columns_as_sequence, make_network
from snn_core.checks import check_whole
from snn_core.functional import reset_net, train_steps
from snn_core.fuse import defines

if TYPE_CHECKING:
    from snn_core.kernels import steps

__all__ = ["Trainer", "set_seed"]

Record = dict[str, float]
Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

#: Seconds that steps without Python in between should take at most, so that a run can be interrupted.
MOST_SECONDS = 0.05
#: Settings in which a run and the checkpoint that it resumes from must agree.
_SAME = ("model", "hidden", "order", "opt", "lrs", "seed")


def set_seed(seed: int) -> None:
    """Seed Python's, NumPy's and torch's random number generators."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class Trainer:
    """A network, its optimizer and all that must be saved to resume: one call of :meth:`train_epoch` per epoch.

    Args:
        config: the run; its seed decides the initial weights and the order of the images.
        start_epoch: epochs that count as done; the learning rate starts where it would be then.
        net: a network of your own, ``[N, 1, H, W]`` to firing rates ``[N, classes]``; None builds ``config.model``.
        ranks: processes that train it together; a network that draws random numbers, as dropout does, then draws
            others than in one process.

    Raises:
        TypeError: ``start_epoch`` is not a whole number.
        ValueError: no epoch is left after ``start_epoch``, or ``net`` or ``config`` asks for what several processes
            cannot do: batch normalisation, CUDA graphs.
    """

    def __init__(
        self,
        config: TrainingConfig,
        start_epoch: int = 0,
        net: nn.Module | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        if config.cuda_graph and ranks.size > 1:
            raise ValueError(f"cuda_graph works with 1 process, got {ranks.size}")
        if check_whole("start_epoch", start_epoch, 0) >= config.epochs:
            raise ValueError(f"start_epoch must be below the {config.epochs} epochs, got {start_epoch}")
        self.config, self.ranks = config, ranks
        self.device = torch.device(config.device)
        if self.device.type == "cpu":
            keep_freed_memory()
        set_seed(config.seed)
        if net is None:
            net = make_network(config.model, config.hidden, config.backend)
        self.net = net.to(self.device)
        ranks.copy_first(self.net)
        self.weights = [weight for weight in self.net.parameters() if weight.requires_grad]
        self.loss = LOSSES[config.loss]
        self.optimizer = self._make_optimizer()
        self.t_max = config.cosa_tmax or config.epochs  # of the cosine, in epochs
        self.scheduler = self._make_scheduler(start_epoch)
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=config.amp and self.device.type == "cuda"
        )
        self.generator = torch.Generator().manual_seed(config.seed)
        self.history: list[Record] = []
        self.epoch = start_epoch

    def _make_optimizer(self) -> torch.optim.Optimizer:
        config, weights = self.config, self.weights
        if config.opt == "adam":
            return torch.optim.Adam(
                weights,
                lr=config.lr,
                weight_decay=config.weight_decay,
                fused=self.device.type == "cuda",
                foreach=self.device.type == "cpu",
                capturable=config.cuda_graph,
            )
        sgd = torch.optim.SGD(
            weights,
            lr=config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            # On the CPU the threads of the fused step take longer to come together than it takes.
            fused=self.device.type == "cuda",
            foreach=self.device.type == "cpu",
        )
        if config.momentum:
            # torch would reserve them without a value in the first step, and leave them so where the scaler skips it.
            for weight in weights:
                sgd.state[weight]["momentum_buffer"] = torch.zeros_like(weight, requires_grad=False)
        return sgd

    def _make_scheduler(self, epoch: int) -> torch.optim.lr_scheduler.LRScheduler | None:
        """Return the schedule after ``epoch`` epochs, and set the optimizer's learning rate to what it is then."""
        config = self.config
        if config.lrs == "none":
            return None
        if config.lrs == "cosa":
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=self.t_max)
        else:
            scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, config.step_size, config.step_gamma)
        for _ in range(epoch):
            advance(scheduler)
        return scheduler

    @property
    def lr(self) -> float:
        """Learning rate of the epoch to come."""
        return self.optimizer.param_groups[0]["lr"]

    def train_epoch(
        self,
        data: ImageData,
        after_step: Callable[[], Any] | None = None,
        progress: Callable[[int], Any] = lambda steps: None,
    ) -> tuple[float, float]:
        """Train on every image once and return mean loss and accuracy (a fraction) over the epoch.

        Args:
            data: images and labels.
            after_step: called after each step; steps that it need not see run several at a time where they can.
            progress: called with a number of steps that were taken.

        Raises:
            FloatingPointError: a loss, a weight, or what the optimizer keeps is not finite, or every step of the
                epoch overflowed in mixed precision. Loss and weights are looked at after the last step, since looking
                after each would let a GPU wait; the message names the first step that went wrong.
        """
        self.net.train()
        mean = Mean()
        weights = [weight.detach() for weight in self.weights if weight.numel()]
        scale = self.scaler.get_scale()
        indices = torch.randperm(len(data), generator=self.generator)
        if after_step is None:
            indices = indices[self._take_most(data, indices, mean, progress) :]
        step = self._step
        for images, labels in batches(
            data, indices, self.config.batch_size, self.device, self.config.workers, self.ranks
        ):
            if len(labels) < self.config.batch_size:
                step = self._step
            elif self.config.cuda_graph and mean.losses and step == self._step:
                # Anew in each epoch, which has its own learning rate.
                step = GraphedStep(self._step, images, labels)
            loss, rate = step(images, labels)
            mean.add(loss, rate, labels, weights)
            progress(1)
            if after_step is not None:
                after_step()
        if self.scheduler:
            advance(self.scheduler)
        self.epoch += 1
        mean.check(self.epoch, self.ranks)
        self._check_moments()
        self._check_scale(scale, len(mean.sizes))
        return mean.result(self.ranks)

    def _take_most(self, data: ImageData, indices: Tensor, mean: Mean, progress: Callable[[int], Any]) -> int:
        """Take the steps with a full batch many at a time if that is possible; return how many images they took."""
        size, images = self.config.batch_size, all_images(data)
        if images is None or self.config.workers or self.config.cuda_graph:
            return 0
        left, count = indices[: len(indices) // size * size].view(-1, size), 1
        while len(left):
            began = time.perf_counter()
            found = self.take_steps(images, data.labels, left[:count])
            if found is None:
                break
            mean.add_steps(found.losses, found.right, found.bad, size)
            progress(len(left[:count]))
            left = left[count:]
            seconds = max(time.perf_counter() - began, 1e-6)
            count = max(1, min(2 * count, int(count * MOST_SECONDS / seconds)))
        return len(indices) // size * size - left.numel()

    def take_steps(self, images: Tensor, labels: Tensor, index: Tensor) -> steps.Steps | None:
        """Take steps in one call, each with ``index[step]`` of the images; None if that is impossible.

        See :func:`snn_core.functional.train_steps`.
        """
        config, chain = self.config, self.net.chain if defines(self.net, "chain") else None
        if chain is None or not self._is_alone():
            return None
        x_seq = columns_as_sequence(images)
        try:
            return train_steps(chain, x_seq, labels, self.optimizer, config.loss, index, config.clip)
        except ValueError:
            # A hook, a backend or an optimizer that kernels do not know: an ordinary step takes them.
            return None

    def _is_alone(self) -> bool:
        """Say whether nothing comes between the gradients and the optimizer."""
        return self.ranks.size == 1 and not self.config.amp and self.device.type == "cpu"

    def _check_moments(self) -> None:
        """Refuse an optimizer that holds what is not finite: such a moment keeps a weight where it is for ever."""
        moments = [
            m
            for state in self.optimizer.state.values()
            for m in state.values()
            if m is not None and m.numel()
        ]
        if moments and not math.isfinite(sum(m.abs().max().double() for m in moments)):
            raise FloatingPointError(
                f"epoch {self.epoch}: {self.config.opt} keeps numbers that are not finite: try a smaller lr, or clip "
                "the gradient"
            )

    def _check_scale(self, before: float, steps: int) -> None:
        """Stop where the scaler skipped all steps of an epoch and its scale is too low to help."""
        after = self.scaler.get_scale()
        # Each skipped step halves the scale; one that is taken does not.
        if after < 1 and after <= before * self.scaler.get_backoff_factor() ** steps:
            raise FloatingPointError(
                f"epoch {self.epoch}: the gradient overflowed in each of {steps} steps, so that none was taken, though "
                f"the loss was scaled by {after:g} only: train without amp"
            )

    def _step(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step and return its loss and firing rates."""
        for weight in self.weights:
            weight.grad = None
        if len(labels):
            with autocast(self.device, self.config.amp):
                outputs = self.net(images)
            rate = at_least_single(outputs)
            loss = self.loss(rate, labels)
            self.scaler.scale(loss).backward()
        else:  # the last batch was too small for a share
            loss, rate = images.new_zeros(()), images.new_zeros(0, 1)
        self.ranks.average_gradients(self.weights, len(labels))
        if self.config.clip is not None:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.weights, self.config.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        reset_net(self.net)
        return loss, rate

    def state_dict(self) -> dict[str, Any]:
        """Return all that :meth:`load_state_dict` needs, in types that ``weights_only`` loading allows."""
        return {
            "config": dataclasses.asdict(self.config),
            "epoch": self.epoch,
            "history": self.history,
            "model": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler else None,
            "scaler": self.scaler.state_dict(),
            "sampler": self.generator.get_state(),
            "rng": rng_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from where :meth:`state_dict` was taken.

        Learning rate, momentum and schedule are the checkpoint's, but for the length of the cosine: that is
        ``cosa_tmax``, and without one the number of epochs, unless the checkpoint's run had chosen another length.
        Where it changes, the rate is the one that a run of the new length has after as many epochs.

        Raises:
            CheckpointError: the state belongs to a run with another network, data order or optimizer, or something is
                missing or has another shape; then all stays as it was.
        """
        self.check(state)
        self.net.load_state_dict(state["model"])
        # How the optimizer computes, as its switches say, is this run's responsibility.
        groups = [
            group | {name: switch for name, switch in own.items() if switch is None or type(switch) is bool}
            for group, own in zip(
                state["optimizer"]["param_groups"], self.optimizer.state_dict()["param_groups"], strict=True
            )
        ]
        self.optimizer.load_state_dict({"state": state["optimizer"]["state"], "param_groups": groups})
        if self.scheduler:
            self._resume_schedule(state)
        if state["scaler"]:  # empty where the run used no scaler, as on the CPU
            self.scaler.load_state_dict(state["scaler"])
        self.generator.set_state(state["sampler"])
        self.epoch, self.history = state["epoch"], state["history"]
        restore_rng(state["rng"])

    def _resume_schedule(self, state: dict[str, Any]) -> None:
        before = state["scheduler"].get("T_max")
        if before is not None:
            chosen = before if before != state["config"]["epochs"] else self.config.epochs
            self.t_max = self.config.cosa_tmax or chosen
        if before in (None, self.t_max):
            self.scheduler.load_state_dict(state["scheduler"])
            return
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        self.scheduler = self._make_scheduler(state["epoch"])

    def check(self, state: dict[str, Any]) -> None:
        """Refuse a state from which this run cannot resume.

        Raises:
            CheckpointError: see :meth:`load_state_dict`.
        """
        own = self.state_dict()
        for name in own:
            if name not in state:
                raise CheckpointError(f"the checkpoint has no {name}")
        for name in _SAME:
            have, want = state["config"].get(name), own["config"][name]
            if have != want:
                raise CheckpointError(
                    f"the checkpoint was made with {name}={have}, this run has {name}={want}"
                )
        check_shapes(state["model"], own["model"], "model")
        for number, moments in state["optimizer"]["state"].items():
            if number >= len(self.weights):
                raise CheckpointError(f"optimizer has a state {number} that belongs to none of the weights")
            tensors = {name: one for name, one in moments.items() if isinstance(one, Tensor) and one.dim()}
            check_shapes(tensors, dict.fromkeys(tensors, self.weights[number]), f"optimizer {number}")


def advance(scheduler: torch.optim.lr_scheduler.LRScheduler) -> None:
    """Take a step of the schedule, without torch's warning where no step of the optimizer was its own."""
    with warnings.catch_warnings():
        # Its steps without a call of the optimizer's are meant: kernels take those.
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
        scheduler.step()


class GraphedStep:
    """Starts all kernels of a training step with one call, where starting each of them would take longer than its work.

    Capturing runs nothing. The step must have run once before, since first runs compile kernels and make buffers, and
    what it reads as Python's numbers, such as the learning rate, stays what it was.

    Args:
        step: (images, labels) -> (loss, firing rates), forward, backward and the optimizer's part.
        images: a batch on the GPU, for its shape and dtype.
        labels: its labels.
    """

    def __init__(self, step: Step, images: Tensor, labels: Tensor) -> None:
        self._images, self._labels = images.clone(), labels.clone()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._loss, self._rate = step(self._images, self._labels)

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Take the step with a batch of the same shape; return its loss and firing rates."""
        self._images.copy_(images)
        self._labels.copy_(labels)
        self._graph.replay()
        return self._loss.detach().clone(), self._rate.detach().clone()
