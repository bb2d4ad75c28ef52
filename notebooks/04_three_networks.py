# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 04 Three networks, and the gradient that trains them
#
# <!-- links, written by tools/frame_notebooks.py -->
# Open in [Binder](https://mybinder.org/v2/gh/snn-core/recurrent-snn-tutorials/main?labpath=notebooks%2F04_three_networks.ipynb) · [Colab](https://colab.research.google.com/github/snn-core/recurrent-snn-tutorials/blob/main/notebooks/04_three_networks.ipynb) · [nbviewer](https://nbviewer.org/github/snn-core/recurrent-snn-tutorials/blob/main/notebooks/04_three_networks.ipynb)
# <!-- end of links -->
#
# **Goal.** Take the plain network, the network with a stateful synapse and the network with feedback apart: what each
# is made of, what its neurons do with a picture, and how a gradient gets through spikes and back through time.
#
# **You will be able to**
# - read the three classes, and account for each of their parameters,
# - say why the true gradient of a spiking network is useless, and what a surrogate gradient is,
# - record spikes, membrane potentials and currents of any layer,
# - work out a training step by hand, down to the last weight,
# - measure how far back in time a gradient reaches, and see where it vanishes and where it explodes.
#
# <!-- time, written by tools/frame_notebooks.py -->
# **Time.** 18 seconds to run on 2 cores (AMD EPYC).
# <!-- end of time -->
#
# **Before.** [Chapter 01](01_spiking_neurons.ipynb) has the neuron and recurrent connections,
# [chapter 02](02_stateful_synapses.ipynb) the stateful synapse, [chapter 03](03_reading_column_by_column.ipynb) the
# task: a picture of Fashion-MNIST, one column of 28 pixels in each of 28 time steps.

# %% tags=["colab", "remove-cell"]
import subprocess
import sys
from pathlib import Path

if "google.colab" in sys.modules:
    print("fetching this collection; torch stays as it is")
    address = "https://github.com/snn-core/recurrent-snn-tutorials"
    folder = "/content/tutorials"
    fetch = ["git", "clone", "--quiet", "--depth", "1", "--branch", "main", address, folder]
    if not Path(folder).exists() and subprocess.run(fetch).returncode != 0:
        raise SystemExit(f"Nothing can be fetched from {address}: not published yet, or no network.")
    # %cd /content/tutorials/notebooks
    # %pip install --quiet '..[experiment]'

# %% tags=["parameters"]
epochs = 2  # of each training; enough to see the differences that this chapter is about
source = "auto"  # "auto": the full data if they can be had; "embedded": 6,000 real images in the package
seed = 0
results_dir = "../results"

# %% [markdown]
# ## 1 Setup

# %%
import copy
import difflib
import inspect
from pathlib import Path

import torch
from IPython.display import Markdown
from torch import nn

from sequential_fmnist.config import TrainingConfig
from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.files import write_json
from sequential_fmnist.networks import (
    NETWORKS,
    FeedBackNet,
    PlainNet,
    SpikingNet,
    StatefulSynapseNet,
    make_network,
)
from sequential_fmnist.provenance import provenance
from sequential_fmnist.training import Trainer, evaluate, fit, rate_loss
from snn_core.functional import reset_net
from snn_core.neuron import IFNode
from snn_core.surrogate import ATan, FastSigmoid, Rectangle, Sigmoid, SurrogateFunction, Triangle, heaviside
from snn_tutorial.plot import networks as draw
from snn_tutorial.plot.show import show
from snn_tutorial.probe import gradient_by_column, record
from snn_tutorial.widgets.network import network_activity

# %%
where = provenance()
print(f"snn_core {where['snn_core']}, torch {where['torch']}, {where['processor']}, {where['cores']} cores")
train = SequentialFashionMNIST(train=True, source=source)
test = SequentialFashionMNIST(train=False, source=source)
images, labels = test.images[:1000].float() / 255, test.labels[:1000]  # [1000, 1, 28, 28], [1000]

# %% [markdown]
# ## 2 The source
# All three networks are one class: two linear layers, each followed by integrate-and-fire neurons, and a place for a
# synapse filter between them. $T$ is the number of time steps, $N$ the number of images in a batch. A `spec` says which
# parts there are. What else it can ask for, such as normalisation or another read-out, is off here;
# [chapter 07](07_what_does_memory_buy.ipynb) needs it.

# %%
Markdown(f"```python\n{inspect.getsource(SpikingNet)}```")

# %% [markdown]
# The plain network asks for nothing more. This is what it is made of:

# %%
plain_parts = str(PlainNet()).splitlines()
print(*plain_parts, sep="\n")

# %% [markdown]
# What the network with a stateful synapse has in its place (`-`) and on top (`+`):

# %%
changes = difflib.unified_diff(plain_parts, str(StatefulSynapseNet()).splitlines(), n=1, lineterm="")
Markdown("```diff\n" + "\n".join(list(changes)[2:]) + "\n```")

# %% [markdown]
# One part more, which `forward` calls between hidden spikes and read-out. And the network with feedback:

# %%
changes = difflib.unified_diff(plain_parts, str(FeedBackNet()).splitlines(), n=1, lineterm="")
Markdown("```diff\n" + "\n".join(list(changes)[2:]) + "\n```")

# %% [markdown]
# The neurons take single steps now (`IFNode`), since step $t$ needs the spikes of step $t-1$; `MultiStepContainer` takes
# them through the sequence.
#
# The same three as a drawing. It is made from the modules themselves, so it cannot disagree with the source:

# %%
torch.manual_seed(seed)
fresh = {name: make_network(name) for name in NETWORKS}
show(
    draw.three_networks(fresh),
    alt="the three networks layer by layer: all have Linear 28 to 32, 32 IF neurons, Linear 32 to 10, 10 IF neurons and "
    "the mean over time; the second has a synapse filter after the hidden neurons, the third a Linear 64 to 32 before "
    "them that also gets their last spikes",
)

# %% [markdown]
# *Grey: what all three share. Below a box: its number of parameters; neurons have none. In colour: the part that only
# this network has. y[t] are the spikes of the hidden neurons, I[t] synaptic currents.*
#
# ## 3 Every parameter accounted for
# A linear layer from $n$ to $m$ features has $n\,m$ weights and $m$ biases:
# $$P_{\text{linear}} = n\,m + m$$

# %%
for name, net in fresh.items():
    print(f"{name}: {sum(p.numel() for p in net.parameters()):,} parameters")
    for part, p in net.named_parameters():
        print(f"    {part:16} {' x '.join(map(str, p.shape)) or 'a number':8} {p.numel():5,}")

# %%
fc1, fc2, rc, tau = 28 * 32 + 32, 32 * 10 + 10, (32 + 32) * 32 + 32, 1
print(f"plain            {fc1} + {fc2} = {fc1 + fc2:,}")
print(f"stateful-synapse {fc1} + {tau} + {fc2} = {fc1 + tau + fc2:,}")
print(f"feedback         {fc1} + {rc} + {fc2} = {fc1 + rc + fc2:,}")

# %% [markdown]
# - `fc1`: each of 32 hidden neurons has a weight for each of 28 pixels, and a bias.
# - `fc2`: each of 10 read-out neurons has a weight for each hidden neuron, and a bias.
# - `sy1.0.w`: **one** number for all synapses. It decides the time constant, $1/\tau = \sigma(w)$.
# - `sn1.0.rc`: the recurrent layer sees 32 inputs and the 32 spikes of the step before, side by side: 64 features. Half
#   of its weights act on the spikes; call that half $W_y$. The other half is a second linear layer after `fc1`.
#
# ## 4 Why not simply take the gradient?
# A neuron fires where its membrane potential after the charge, $h$, reaches the threshold:
# $$s = \Theta(x), \qquad x = h - v_{\text{threshold}}, \qquad \Theta(x) = 1 \text{ where } x \ge 0, \text{ else } 0$$
# Autograd has nothing to differentiate here. A comparison gives a new tensor without a history:

# %%
x = torch.tensor([-0.5, 0.0, 0.7], requires_grad=True)
s = heaviside(x)
print(s, "requires_grad:", s.requires_grad)
try:
    s.sum().backward()
except RuntimeError as error:
    print("backward:", error)

# %% [markdown]
# That looks like a technical obstacle, so remove it and give autograd the derivative that the step has in truth:
# $$\Theta'(x) = 0 \quad \text{for all } x \ne 0$$
# A surrogate function is a step forward and any function of ours backward. Our first one is the honest zero:


# %%
class TrueDerivative(SurrogateFunction):
    """The Heaviside step with its own derivative."""

    def derivative(self, x):
        return torch.zeros_like(x)


# %% [markdown]
# 20 steps of gradient descent with it, and 20 with the surrogate `ATan`, from the same weights on the same batch:

# %%
steps = {}
for surrogate in (TrueDerivative(alpha=1.0), ATan()):
    torch.manual_seed(seed)
    net = make_network("plain")
    net.sn1.surrogate_function = net.sn2.surrogate_function = surrogate
    start = nn.utils.parameters_to_vector(net.parameters()).detach()
    optimizer, losses, norms = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9), [], []
    for _ in range(20):
        optimizer.zero_grad()
        loss = rate_loss(net(images[:256]), labels[:256])
        loss.backward()
        optimizer.step()
        reset_net(net)
        losses.append(loss.item())
        norms.append(nn.utils.get_total_norm([p.grad for p in net.parameters()]).item())
    moved = (nn.utils.parameters_to_vector(net.parameters()).detach() - start).abs().max().item()
    steps[type(surrogate).__name__] = {"norm": norms[0], "moved": moved, "losses": losses}

# %%
for name, step in steps.items():
    print(f"{name:15} gradient norm {step['norm']:.5f}, loss {step['losses'][0]:.5f} -> ", end="")
    print(f"{step['losses'][-1]:.5f}, largest change of a weight {step['moved']:.5f}")

# %% [markdown]
# With the true derivative not one weight moved, and none ever will. The zero is no mistake: change one weight a
# little, and the loss does not change, because no spike comes or goes.

# %%
torch.manual_seed(seed)
net = make_network("plain")
with torch.no_grad():
    weight, start = net.fc1.weight[5], net.fc1.weight[5, 18].item()
    values, losses = torch.linspace(-1, 1, 1001), []
    for weight[18] in values:
        losses.append(rate_loss(net(images[:1]), labels[:1]).item())
        reset_net(net)
print(f"{len(values)} values of the weight give {len(set(losses))} values of the loss")

# %%
show(
    draw.staircase(values.numpy(), losses, start),
    alt="loss of one image against one weight: a staircase of flat pieces with jumps between them",
)

# %% [markdown]
# *Flat almost everywhere: the derivative is 0. At a jump it does not exist. Yet a slope is plain to see from afar, and
# that is what a surrogate gradient supplies.*
#
# ## 5 Surrogate gradients
# Keep the step forward. Backward, use the derivative of a smooth function $g$ that resembles the step
# ([Neftci, Mostafa and Zenke 2019](https://arxiv.org/abs/1901.09948)). For `ATan`,
# $$g(x) = \frac{1}{\pi}\arctan\!\left(\frac{\pi}{2}\alpha x\right) + \frac{1}{2}, \qquad
# g'(x) = \frac{\alpha / 2}{1 + \left(\frac{\pi}{2}\alpha x\right)^2}$$
# Step and slope in one, for three values of $x$:

# %%
x = torch.tensor([-0.5, 0.0, 0.7], requires_grad=True)
s = ATan(alpha=2.0)(x)
s.sum().backward()
print("spikes  ", s.detach())
print("gradient", x.grad)
print("formula ", 1 / (1 + (torch.pi * x.detach()) ** 2))

# %%
functions = [ATan(), Sigmoid(), FastSigmoid(), Triangle(), Rectangle()]
show(
    draw.surrogates(functions),
    alt="five smooth functions beside the Heaviside step, and their derivatives, which have their peak at the threshold",
)

# %% [markdown]
# *Left: what each surrogate function takes the step for. Right: what it uses backward. Only the right side ever enters
# a training; spikes stay 0 or 1. FastSigmoid's g spans less than 0 to 1, since its slope keeps the height 1.*
#
# ### Why ATan here?
# Because the text that this collection follows uses it. What speaks for it: the slope is 1 at the threshold, and its
# tails fall off slowly, as $1/x^2$, so that a neuron far from its threshold still learns. Rectangle and Triangle are
# exactly 0 there. What the choice does to a short training, one seed each:

# %%
print(f"{'':12} g'(0)   g'(1)   g'(3)   test accuracy of the plain network after {epochs} epochs")
surrogate_accuracy = {}
for function in functions:
    torch.manual_seed(seed)
    net = make_network("plain")
    net.sn1.surrogate_function = net.sn2.surrogate_function = function
    config = TrainingConfig(model="plain", epochs=epochs, seed=seed)
    _, history = fit(config, train, test, net=net, progress=False)
    name = type(function).__name__
    surrogate_accuracy[name] = history[-1]["test_accuracy"]
    slopes = "  ".join(f"{slope:.4f}" for slope in function.derivative(torch.tensor([0.0, 1.0, 3.0])))
    print(f"{name:12} {slopes}  {surrogate_accuracy[name]:.2%}")

# %% [markdown]
# All of them train. None was tuned: a slope that is narrow or low makes small gradients, which ask for a larger
# learning rate than the one that all share here. Read no ranking into it.
#
# ### What does `detach_reset` do?
# After a spike, the hard reset sets the membrane potential back: $v = (1 - s)\,h + s\,v_{\text{reset}}$. The spike
# appears here a second time, and so its surrogate slope enters the membrane's own gradient:
# $$\frac{\partial v}{\partial h} = (1 - s) \;-\; (h - v_{\text{reset}})\,g'(h - v_{\text{threshold}})$$
# `detach_reset=True` cuts the second term. What is left is exact: 1 if the neuron stays silent, 0 if it fires.

# %%
for h in (0.9, 1.2):
    for detach in (True, False):
        x = torch.tensor(h, requires_grad=True)
        neuron = IFNode(surrogate_function=ATan(), detach_reset=detach)
        spike = neuron(x).item()
        (slope,) = torch.autograd.grad(neuron.v, x)
        second = 0 if detach else h / (1 + (torch.pi * (h - 1)) ** 2)
        print(
            f"h = {h}: spike {spike:.0f}, detach_reset={detach!s:5} dv/dh {slope:7.4f}, formula {1 - spike - second:7.4f}"
        )

# %% [markdown]
# Without it, a membrane just below the threshold passes on little of its gradient, and one that fired passes on a
# gradient with the wrong sign, though its potential is $v_{\text{reset}}$ whatever $h$ was. All three networks use
# `detach_reset=True`.
#
# ## 6 Train them, and look inside
# A few epochs of each, as in [chapter 05](05_training_curves.ipynb).

# %%
nets, accuracy = {}, {}
for name in NETWORKS:
    config = TrainingConfig(model=name, epochs=epochs, seed=seed)
    nets[name], history = fit(config, train, test, progress=False)
    accuracy[name] = history[-1]["test_accuracy"]
    print(f"{name:16} test accuracy {accuracy[name]:.2%} after {epochs} epochs, on {len(test):,} images")

# %% [markdown]
# ### How do I record v inside a recurrent container?
# Spikes come out of a layer, so a forward hook sees them. Membrane potentials stay inside the neuron. Tell the neuron
# to store them, wherever it is: in a container it is the `sub_module`.

# %%
neuron = nets["feedback"].sn1[0].sub_module
neuron.store_v_seq = True
nets["feedback"](images[:1])
v_seq = neuron.v_seq
print("v of the hidden neurons:", tuple(v_seq.shape), "= [T, N, hidden]")
neuron.store_v_seq = False
reset_net(nets["feedback"])

# %% [markdown]
# `snn_tutorial.probe.record` does this for both layers, and keeps spikes and synaptic currents too.

# %%
assert torch.equal(record(nets["feedback"], images[:1]).hidden_v, v_seq)
records = {name: record(net, images) for name, net in nets.items()}
rates = {}
for name, seen in records.items():
    rates[name] = {"hidden": seen.hidden_spikes.mean().item(), "read-out": seen.read_out_spikes.mean().item()}
    print(f"{name:16} spikes per step and neuron: ", end="")
    print(", ".join(f"{layer} {rate:.3f}" for layer, rate in rates[name].items()))

# %% [markdown]
# A perfect answer would be a read-out rate of 0.1: one of ten neurons fires in each step, the others never.

# %%
show(
    draw.compare_activity(records, images[0, 0], test.classes),
    alt="for each network: the image, spikes of hidden and read-out neurons and one membrane potential, all against time",
)

# %% [markdown]
# *Time runs from left to right in every panel: the column above a spike is the one that the network saw in that step.
# Bottom: the hidden neuron with the grey band. A membrane potential falls to 0 where it fires, and may sink far below
# it. The synaptic current of the second network jumps with each spike and decays between them.*
#
# ### What is left after a blank stretch?
# Show the left half of each picture, then 14 empty columns. Whatever the network does in the second half, it does from
# memory.

# %%
half = images.clone()
half[..., 14:] = 0
from_memory = {name: record(net, half) for name, net in nets.items()}
show(
    draw.compare_activity(from_memory, half[0, 0], test.classes),
    alt="the same panels for an image whose right half is empty",
)

# %% [markdown]
# *In the blank half only biases reach the hidden neurons, and in the feedback network their own spikes. Those of the
# plain network fire at a pace that the image no longer changes. The synaptic currents carry the image on for a while,
# and drive the read-out with it.*
#
# Count the spikes of the read-out in the blank half alone, and take the most active neuron for an answer. Chance is
# 10 %:

# %%
blank = {}
for name, seen in from_memory.items():
    for part, spikes in (("seeing", seen.read_out_spikes[:14]), ("blank", seen.read_out_spikes[14:])):
        hits = (spikes.mean(0).argmax(1) == labels).float().mean().item()
        blank.setdefault(name, {})[part] = hits
    print(f"{name:16} while seeing {blank[name]['seeing']:.1%}, in the blank half {blank[name]['blank']:.1%}")

# %% [markdown]
# None of the networks was trained for this. The stateful synapse holds the answer anyway; that is what the decaying
# current is. A recurrent connection *can* hold it too, as the first example of chapter 01 shows, but training has to
# find weights that do, and two epochs of whole pictures have not.
#
# ### Look for yourself
# In a running notebook, controls appear below: choose a network, an image, a layer and a neuron. On a page without a
# kernel you see one choice, drawn as a figure.

# %%
network_activity(records, images[:20], labels[:20], test.classes)

# %%
answer = int(labels[0])
show(
    draw.activity(
        "stateful-synapse", records["stateful-synapse"], images[0, 0], test.classes, 0, "read-out", answer
    ),
    alt="image, hidden spikes, read-out spikes, and the membrane potential of the read-out neuron of the right class",
)

# %% [markdown]
# *The network with a stateful synapse, and the read-out neuron of the right class. Does it fire from the start, or only
# once the network has seen enough?*
#
# ## 7 One training step by hand
# Three copies of one network, three ways to take the same three steps on the same batch of 256 images. The loss is the
# mean squared error between rates $r$ and the one-hot label $y$, over $N$ images and 10 classes:
# $$L = \frac{1}{10 N} \sum_{n=1}^{N} \sum_{c=1}^{10} (r_{nc} - y_{nc})^2$$

# %%
batch = copy.copy(train)
batch.images, batch.labels = train.images[:256], train.labels[:256]
pictures, target = batch.images.float() / 255, nn.functional.one_hot(batch.labels, 10).float()
torch.manual_seed(seed)
by_hand = make_network("plain")
by_torch, by_trainer = copy.deepcopy(by_hand), copy.deepcopy(by_hand)
rate = by_hand(pictures)
reset_net(by_hand)
print("by hand  ", ((rate - target) ** 2).mean().item())
print("rate_loss", rate_loss(rate, batch.labels).item())

# %% [markdown]
# Stochastic gradient descent with momentum: each weight $w$ has a memory $m$ of its past gradients $g$. With the
# learning rate $\eta = 0.1$ and $\mu = 0.9$,
# $$m \leftarrow \mu\,m + g, \qquad w \leftarrow w - \eta\,m$$

# %%
lr, mu = 0.1, 0.9
memory = [torch.zeros_like(w) for w in by_hand.parameters()]
optimizer = torch.optim.SGD(by_torch.parameters(), lr=lr, momentum=mu)
for step in range(3):
    loss = ((by_hand(pictures) - target) ** 2).mean()
    gradients = torch.autograd.grad(loss, list(by_hand.parameters()))
    reset_net(by_hand)
    with torch.no_grad():
        for w, m, g in zip(by_hand.parameters(), memory, gradients, strict=True):
            m.copy_(mu * m + g)
            w -= lr * m

    optimizer.zero_grad()
    rate_loss(by_torch(pictures), batch.labels).backward()
    optimizer.step()
    reset_net(by_torch)
    if step == 0:
        one = gradients[2].abs().argmax()  # the weight of fc2 with the largest gradient
    g, m, w, other = (
        t.flatten()[one] for t in (gradients[2], memory[2], by_hand.fc2.weight, by_torch.fc2.weight)
    )
    print(f"step {step}: g {g:+.6f}  m {m:+.6f}  w {w:+.6f}  torch.optim's w {other:+.6f}")

# %% [markdown]
# One weight of `fc2`, followed by hand and by `torch.optim`. In the first step $m$ is $g$; in the second it is 0.9
# times the first $m$ plus the new $g$, and so on: while gradients agree, steps grow longer.
#
# The trainer of `snn_core` does the same. Its epoch over a data set of one batch is one step:

# %%
before = evaluate(by_trainer, batch)
config = TrainingConfig(model="plain", epochs=3, lr=lr, momentum=mu, lrs="none", batch_size=256, seed=seed)
trainer = Trainer(config, net=by_trainer)
for _ in range(3):
    trainer.train_epoch(batch)
after = evaluate(by_trainer, batch)
print(f"loss on the batch {before[0]:.5f} -> {after[0]:.5f}, accuracy {before[1]:.1%} -> {after[1]:.1%}")

# %%
weights = [nn.utils.parameters_to_vector(n.parameters()).detach() for n in (by_hand, by_torch, by_trainer)]
difference = max((w - weights[0]).abs().max().item() for w in weights[1:])
print(f"{len(weights[0]):,} weights, three ways: they differ by {difference:.1e} at most")

# %% [markdown]
# What is left is rounding: the trainer shuffles the batch, so sums run in another order. Three steps change little; go
# on for 97 more on the same batch:

# %%
for _ in range(97):
    trainer.train_epoch(batch)
long_after = evaluate(by_trainer, batch)
print(f"after 100 steps: loss on the batch {long_after[0]:.5f}, accuracy {long_after[1]:.1%}")
print(f"on {len(test):,} test images: accuracy {evaluate(by_trainer, test)[1]:.1%}")

# %% [markdown]
#
# ## 8 How far back does the gradient reach?
# Training can use column $t$ only if the loss depends on it, to the eyes of the gradient:
# $$G[t] = \left\| \frac{\partial L}{\partial x[t]} \right\|_2$$
# The last axis of an image is time, so the gradient of the images holds that of every column:

# %%
x = images[:1].clone().requires_grad_()
rate_loss(nets["plain"](x), labels[:1]).backward()
by_column = x.grad[0, 0].norm(dim=0)  # over the 28 pixels of each column, [T]
reset_net(nets["plain"])
nets["plain"].zero_grad()
assert torch.allclose(by_column, gradient_by_column(nets["plain"], images[:1], labels[:1])[:, 0])
print(" ".join(f"{norm:.4f}" for norm in by_column))

# %% [markdown]
# `snn_tutorial.probe.gradient_by_column` does this for each image of a batch. Early columns have an unfair advantage in
# it: the first one acts on the spikes of all 28 steps, the last one on those of a single step. So ask the harder question
# too. Let the loss see the spikes of the **last step alone**; what reaches column 0 then has come back through 27 steps.

# %%
whole = {name: gradient_by_column(net, images, labels) for name, net in nets.items()}
last = {name: gradient_by_column(net, images, labels, last_step_only=True) for name, net in nets.items()}
panels = {
    "loss of all steps": {name: norms.mean(1) for name, norms in whole.items()},
    "loss of the last step alone": {name: norms.mean(1) for name, norms in last.items()},
}
show(
    draw.gradient_profiles(panels),
    alt="gradient norm against the column, for the loss of all steps and for the loss of the last step alone",
)

# %% [markdown]
# *Mean over 1,000 test images. A mean hides that images differ by orders of magnitude, so look at them one by one:*

# %%
show(
    draw.gradient_spread(last),
    alt="gradient norm of the last step's loss against the column: median, middle half and largest of the images",
)

# %% [markdown]
# *The loss of the last step; images that it gets exactly right have no gradient and are left out. Read each panel from
# right to left, as the gradient travels.*

# %%
reach = {}
for name, norms in last.items():
    ratio = (norms[0] / norms[27])[norms[27] > 0]
    reach[name] = {"median": ratio.median().item(), "99th percentile": ratio.quantile(0.99).item()}
    print(
        f"{name:16} G[0] / G[27]: ", ", ".join(f"{which} {value:.3f}" for which, value in reach[name].items())
    )

# %% [markdown]
# ### Why it vanishes, and why it explodes
# From one step to the next, the state of the hidden layer passes the gradient on with a factor
# $$\frac{\partial h[t+1]}{\partial h[t]} = 1 - s[t] \quad\text{(plain)}, \qquad
# \frac{\partial I[t+1]}{\partial I[t]} = 1 - \frac{1 - s[t+1]}{\tau} \quad\text{(synapse)},$$
# $$\frac{\partial h[t+1]}{\partial h[t]} = \operatorname{diag}(1 - s[t]) + W_y \operatorname{diag}\big(g'(h[t] -
# v_{\text{threshold}})\big) \quad\text{(feedback)}$$
#
# - **Plain:** the factor is 0 or 1. A membrane passes the gradient on undiminished until it fires, and then not at
#   all. It cannot explode on this way; it is cut.
# - **Synapse:** the current adds a second way, with a factor of at least $1 - 1/\tau$. No spike cuts it: a step with a
#   spike has the factor 1. No factor exceeds 1 either; the gradient grows with the number of ways that lead
#   back, which is a power of the distance, and not with their length.
# - **Feedback:** the factor is a matrix, and the product has 27 of them. A direction that each of them stretches grows
#   exponentially with the distance.
#
# In numbers:

# %%
silent = (records["plain"].hidden_spikes[:-1].sum(0) == 0).float().mean().item()
time_constant = nets["stateful-synapse"].sy1[0].tau.item()
w_y = nets["feedback"].sn1[0].rc.weight[:, 32:].detach()
radius, stretch = torch.linalg.eigvals(w_y).abs().max().item(), torch.linalg.matrix_norm(w_y, 2).item()
print(f"plain: {silent:.1%} of the hidden neurons never fire before the last step, and pass everything on")
print(f"synapse: tau = {time_constant:.2f}; without a spike 1 - 1/tau = {1 - 1 / time_constant:.3f} per step")
print(f"feedback: largest eigenvalue of W_y {radius:.2f} in size, largest stretch {stretch:.2f}")

# %% [markdown]
# The recurrent weights decide. Take the untrained feedback network, stretch $W_y$ by a factor, and see what comes back
# to column 0 for each unit of gradient at column 27. A ratio above 1 is no explosion yet, not even without any feedback:
# column 0 acts on the last step along many ways, column 27 along one.

# %%
growth = {}
for scale in (0, 1, 2, 4, 8):
    torch.manual_seed(seed)
    net = make_network("feedback")
    with torch.no_grad():
        net.sn1[0].rc.weight[:, 32:] *= scale
    norms = gradient_by_column(net, images, labels, last_step_only=True).mean(1)
    growth[scale] = (norms[0] / norms[27]).item()
    radius = torch.linalg.eigvals(net.sn1[0].rc.weight[:, 32:]).abs().max().item()
    print(f"W_y times {scale}: largest eigenvalue {radius:.2f}, G[0] / G[27] = {growth[scale]:8.1f}")

# %% [markdown]
# ### From here to the collapse in chapter 05
# Train the three networks again, with the same seed. This time keep, for every step, the norm of the gradient of all
# weights, and the weights before the step:

# %%
step_norms, before_step = {}, {}
for name in NETWORKS:
    trainer = Trainer(TrainingConfig(model=name, epochs=epochs, seed=seed))
    norms, states = [], [nn.utils.parameters_to_vector(trainer.weights).detach()]

    def keep_step(weights=trainer.weights, norms=norms, states=states):
        norms.append(nn.utils.get_total_norm([w.grad for w in weights]).item())
        states.append(nn.utils.parameters_to_vector(weights).detach())

    for _ in range(epochs):
        trainer.train_epoch(train, after_step=keep_step)
    step_norms[name], before_step[name] = norms, states
    middle = torch.tensor(norms).median().item()
    print(
        f"{name:16} median {middle:.3f}, largest {max(norms):.3f}: {max(norms) / middle:.0f} times the median"
    )

# %%
show(
    draw.step_norms(step_norms),
    alt="norm of the gradient of all weights in each training step, on a logarithmic axis; feedback has far outliers",
)

# %% [markdown]
# *Each dot is one training step, the dashed line the median. Plain and stateful networks keep to a band; their longest steps are among the first.
# The feedback network has single steps far above its band.*
#
# Go back to the moment before the longest step of each network. How does the gradient of single images look there, and
# what does the step do to the accuracy?

# %%
longest, spread = {}, {}
for name, norms in step_norms.items():
    step, net = int(torch.tensor(norms).argmax()), make_network(name)
    for when, number in (("after", step + 1), ("before", step)):
        nn.utils.vector_to_parameters(before_step[name][number], net.parameters())
        longest.setdefault(name, {"step": step})[when] = evaluate(net, test)[1]
    spread[name] = gradient_by_column(net, images, labels, last_step_only=True)
    longest[name]["largest G[0]"] = spread[name][0].max().item()
    longest[name]["norm"], longest[name]["median norm"] = norms[step], torch.tensor(norms).median().item()
    print(f"{name:16} step {step:3}: largest G[0] {longest[name]['largest G[0]']:.2f}, ", end="")
    print(f"test accuracy {longest[name]['before']:.1%} -> {longest[name]['after']:.1%}")

# %%
show(
    draw.gradient_spread(spread),
    alt="gradient norm of the last step's loss against the column, with the weights before each network's longest step",
)

# %% [markdown]
# *As above, with the weights before the longest step. In the feedback network the gradient of some images grows on its
# way back by orders of magnitude, while the median image's does not.*
#
# That is how a collapse begins: some images of a batch send back a huge gradient, the learning rate of 0.1 turns it
# into a step that is far too long, and what was learned is lost in that one step. Here the network recovers.
# [Chapter 05](05_training_curves.ipynb) shows what it costs over 64 epochs.
#
# ## 9 Truncated backpropagation through time: how, and what does it cost?
# Long sequences do not fit into memory with their whole history. `detach_net` keeps the state and cuts its history
# there; [chapter 01](01_spiking_neurons.ipynb) shows why backward fails without it. Feed the picture in two pieces of
# 14 columns:

# %%
Markdown(f"```python\n{inspect.getsource(gradient_by_column)}```")

# %%
cut = {name: gradient_by_column(net, images, labels, detach_before=14) for name, net in nets.items()}
panels = {
    name: {"whole history": whole[name].mean(1), "cut before column 14": cut[name].mean(1)} for name in nets
}
show(
    draw.gradient_profiles(panels, log=False, cut=14),
    alt="gradient norm against the column, with the whole history and cut before column 14",
)

# %% [markdown]
# *The spikes are the same, and so is the loss of all steps. From column 14 on the gradient is the same too. The first
# 14 columns lose what they do to the second half.* The loss of the last step alone sees nothing of them any more:

# %%
for name, net in nets.items():
    norms = gradient_by_column(net, images, labels, last_step_only=True, detach_before=14).mean(1)
    print(
        f"{name:16} G[0] {norms[0]:.4f}  G[13] {norms[13]:.4f}  G[14] {norms[14]:.4f}  G[27] {norms[27]:.4f}"
    )

# %% [markdown]
# So a network trained this way can still use its memory beyond the border, but it does not *learn* to. That is the
# price, and at times the aim: the product of 27 factors becomes one of 13.
#
# ## 10 Keep the result

# %%
result = {
    "data": train.source,
    "is_subset": train.is_subset,
    "epochs": epochs,
    "seed": seed,
    "parameters": {name: sum(p.numel() for p in net.parameters()) for name, net in nets.items()},
    "twenty_steps": steps,
    "surrogate_accuracy": surrogate_accuracy,
    "test_accuracy": accuracy,
    "rates": rates,
    "accuracy_in_a_blank_half": blank,
    "one_batch": {
        "before": before,
        "after_3": after,
        "after_100": long_after,
        "largest_difference": difference,
    },
    "gradient_by_column": {name: norms.mean(1).tolist() for name, norms in whole.items()},
    "gradient_by_column_last_step": {name: norms.mean(1).tolist() for name, norms in last.items()},
    "gradient_by_column_cut": {name: norms.mean(1).tolist() for name, norms in cut.items()},
    "reach": reach,
    "growth_by_scale_of_w_y": {str(scale): ratio for scale, ratio in growth.items()},
    "longest_step": longest,
}
write_json(Path(results_dir) / "chapter_04.json", result | {"provenance": where})

# %% [markdown]
# ## Exercises
# 1. Make `ATan` ever narrower, `alpha` = 2, 20, 200. What happens to the norm of the gradient of `fc1.weight` in the
#    untrained plain network?
# 2. Set `detach_reset=False` in both layers of the trained plain network. How does the gradient of the last step's loss
#    at column 0 change?
# 3. Train the feedback network with `clip=0.1`, which shortens every gradient to that norm at most. What is the largest
#    norm now, and does the accuracy suffer?
#
# <details><summary>Solution 1</summary>
#
# ```python
# for alpha in (2.0, 20.0, 200.0):
#     torch.manual_seed(seed)
#     net = make_network("plain")
#     net.sn1.surrogate_function = net.sn2.surrogate_function = ATan(alpha=alpha)
#     rate_loss(net(images[:256]), labels[:256]).backward()
#     print(alpha, net.fc1.weight.grad.norm().item())
# ```
# The norm grows: the area below the slope stays 1, so ever fewer potentials get an ever larger slope. In the limit you are back at the true derivative, apart from the few that happen to lie at the threshold.
# </details>
#
# <details><summary>Solution 2</summary>
#
# ```python
# attached = copy.deepcopy(nets["plain"])
# attached.sn1.detach_reset = attached.sn2.detach_reset = False
# for net in (nets["plain"], attached):
#     norms = gradient_by_column(net, images, labels, last_step_only=True)
#     print(norms[0].mean().item(), norms[0].median().item())
# ```
# The spikes are the same in both; the gradient is another one, and smaller here. Where a potential comes near the
# threshold, its factor is no longer 1 or 0.
# </details>
#
# <details><summary>Solution 3</summary>
#
# ```python
# trainer, norms = Trainer(TrainingConfig(model="feedback", epochs=epochs, seed=seed, clip=0.1)), []
# for _ in range(epochs):
#     trainer.train_epoch(train, lambda: norms.append(nn.utils.get_total_norm([w.grad for w in trainer.weights]).item()))
# print(f"largest norm {max(norms):.3f}, test accuracy {evaluate(trainer.net, test)[1]:.2%}, was {accuracy['feedback']:.2%}")
# ```
# Compare with the accuracy of section 6: no step is thrown far any more. One seed decides nothing; try others.
# </details>
#
# ## What was learned
# - The three networks share everything but the part that carries the past: nothing, one time constant, or a matrix.
# - The true gradient of a spiking network is zero, and rightly so: the loss is a staircase. A surrogate gradient keeps
#   the spikes and lends them a slope.
# - `detach_reset=True` makes a membrane pass on its gradient whole or not at all.
# - Back through time, spikes cut the plain network's gradient, a synaptic current carries it past them, and recurrent
#   weights multiply it, for some images until it explodes.
#
# <!-- navigation, written by tools/frame_notebooks.py -->
# Previous: [03 Reading Fashion-MNIST column by column](03_reading_column_by_column.ipynb) · Next: [05 Training curves: three ways to remember](05_training_curves.ipynb)
# <!-- end of navigation -->
