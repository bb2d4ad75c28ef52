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
# # 01 Spiking neurons and a recurrent connection
#
# <!-- links, written by tools/frame_notebooks.py -->
# Open in [Binder](https://mybinder.org/v2/gh/snn-core/recurrent-snn-tutorials/main?labpath=notebooks%2F01_spiking_neurons.ipynb) · [Colab](https://colab.research.google.com/github/snn-core/recurrent-snn-tutorials/blob/main/notebooks/01_spiking_neurons.ipynb) · [nbviewer](https://nbviewer.org/github/snn-core/recurrent-snn-tutorials/blob/main/notebooks/01_spiking_neurons.ipynb)
# <!-- end of links -->
#
# **Goal.** Build a spiking neuron from its equations, feed its spike back to its own input, and know at every step
# what is in its membrane.
#
# **You will be able to**
# - write an integrate-and-fire neuron by hand: charge, fire, reset,
# - predict on paper what a neuron with a recurrent connection does,
# - choose between a one-to-one and a dense recurrence,
# - keep, cut or forget a network's state at the right moment, and read the errors that come up if you do not,
# - put sequences of different length into one batch without changing a single result.
#
# <!-- time, written by tools/frame_notebooks.py -->
# **Time.** 7 seconds to run on 2 cores (AMD EPYC).
# <!-- end of time -->
#
# You need to know tensors and `backward()` of PyTorch; nothing about neurons.

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
seed = 0
results_dir = "../results"

# %% [markdown]
# ## 1 Setup

# %%
import inspect
from pathlib import Path

import torch
from IPython.display import Code
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from sequential_fmnist.files import write_json
from sequential_fmnist.provenance import provenance
from snn_core import functional, neuron, surrogate
from snn_core.functional import detach_net, reset_net
from snn_core.layer import ElementWiseRecurrentContainer, LinearRecurrentContainer, MultiStepContainer
from snn_tutorial.plot.neurons import borders, membranes, neuron_traces, padded_batch, recurrent_weights
from snn_tutorial.plot.show import show
from snn_tutorial.trace import trace
from snn_tutorial.widgets.neuron import driven_neuron

where = provenance()
print(f"snn_core {where['snn_core']}, torch {where['torch']}, {where['processor']}, {where['cores']} cores")

# %% [markdown]
# ## 2 One neuron: charge, fire, reset
# Time goes in steps $t = 0, 1, 2, \dots$ All quantities are numbers without a unit. A neuron remembers one number, its
# **membrane potential** $v$. In every step it does three things, in this order.
#
# **Charge.** The integrate-and-fire neuron (IF) adds its input $x[t]$ to what it has:
#
# $$h[t] = v[t-1] + x[t]$$
#
# **Fire.** It sends a spike where that reaches the threshold:
#
# $$s[t] = \begin{cases} 1 & \text{if } h[t] \ge v_{threshold} \\ 0 & \text{else} \end{cases}$$
#
# **Reset.** Where it fired, the *hard* reset sets the membrane to $v_{reset}$, and the *soft* reset takes
# $v_{threshold}$ away from it:
#
# $$v[t] = (1 - s[t])\, h[t] + s[t]\, v_{reset} \quad\text{(hard)}, \qquad
#   v[t] = h[t] - s[t]\, v_{threshold} \quad\text{(soft)}$$
#
# So $h$ is the membrane between charge and reset, and $v$ is what stays for the next step. In code, with
# `v_reset=None` for the soft reset as in the whole collection:


# %%
def if_by_hand(x, v, v_threshold=1.0, v_reset=0.0):
    h = v + x
    s = (h >= v_threshold).to(h)
    v = h - s * v_threshold if v_reset is None else (1 - s) * h + s * v_reset
    return s, v


# %%
x = torch.tensor([0.5, 0.75, 0.5, 0.0, 0.75, 1.5, 0.25, 0.5])
v = torch.tensor(0.0)
for t in range(len(x)):
    s, v = if_by_hand(x[t], v)
    print(f"t={t}  x={x[t]:.2f}  s={s:.0f}  v={v:.2f}")

# %% [markdown]
# That is all there is to it. In `snn_core` each of the three lines is a function, so that other neurons can share them:

# %%
steps = (functional.if_charge, functional.fire, functional.reset)
Code("\n\n".join(inspect.getsource(step) for step in steps), language="python")

# %% [markdown]
# Two arguments are new. `surrogate_function` makes the spikes and, when a network is trained, stands in for the
# derivative of the jump, which is zero wherever there is one. `detach_reset` cuts the gradient through the spike in the
# reset. Neither changes a spike. A module, `IFNode`, keeps $v$ from call to call. It agrees with our lines exactly:

# %%
torch.manual_seed(seed)
drive = torch.rand(1000)
differences = 0
for v_reset in (0.0, None):
    node, v = neuron.IFNode(v_reset=v_reset), torch.tensor(0.0)
    for t in range(len(drive)):
        s, v = if_by_hand(drive[t], v, v_reset=v_reset)
        differences += int(node(drive[t]) != s) + int(node.v != v)
print(f"{differences} differences in {2 * len(drive)} steps")

# %% [markdown]
# ## 3 Hard and soft reset
# `trace` runs a neuron and records all of its quantities. Both neurons get the input from above.

# %%
hard = trace(neuron.IFNode(v_reset=0.0), x)
soft = trace(neuron.IFNode(v_reset=None), x)
show(
    neuron_traces({"hard reset, v_reset=0.0": hard, "soft reset, v_reset=None": soft}),
    alt="two columns, hard and soft reset: input, membrane potential before and after the reset, and spikes, "
    "against the time step",
)

# %% [markdown]
# *Open circles: the membrane after the charge, $h[t]$. Full ones: after the reset, $v[t]$. Where there is no spike, they
# are the same. The hard reset throws away what lies above the threshold; the soft reset keeps it, so the neuron on the
# right fires once more from the same input.*

# %%
for name, record in {"hard": hard, "soft": soft}.items():
    spikes = record.s.sum()
    print(
        f"{name}: input {x.sum():.2f} = {spikes:.0f} spikes + {record.v[-1]:.2f} left in the membrane", end=""
    )
    print(f" + {x.sum() - spikes - record.v[-1]:.2f} thrown away")

# %% [markdown]
# With a threshold of 1 the soft reset is bookkeeping: nothing gets lost.
#
# ## 4 A leak: the LIF neuron
# The leaky integrate-and-fire neuron (LIF) differs in its charge only: in every step it loses the part $1/\tau$ of its
# distance to rest, and the input is scaled by the same factor,
#
# $$h[t] = v[t-1] + \tfrac{1}{\tau}\bigl(x[t] - (v[t-1] - v_{rest})\bigr),$$
#
# with $v_{rest} = v_{reset}$ for the hard reset and 0 for the soft one. $\tau$ is a time constant in time steps, above 1.

# %%
pulse = torch.zeros(30)
pulse[:15] = 0.8
v_seq = {tau: trace(neuron.LIFNode(tau=tau), pulse).v for tau in (2.0, 5.0, 20.0)}
show(
    membranes({f"tau = {tau:.0f} steps": v for tau, v in v_seq.items()}, pulse, v_threshold=1.0),
    alt="membrane potential of three LIF neurons during and after an input of 0.8 that lasts 15 steps",
)

# %% [markdown]
# *The membrane follows the input, the faster the smaller $\tau$ is, and forgets it as fast. None of the three ever
# fires: an input of 0.8 can charge a leaky membrane to 0.8 and no further. An IF neuron would have fired in the second
# step.*
#
# While the input is constant, the charge can be worked out for all steps at once:
# $v[t] = 0.8\,\bigl(1 - (1 - \tfrac{1}{\tau})^{t+1}\bigr)$. The largest difference from that:

# %%
t = torch.arange(15)
for tau, v in v_seq.items():
    exact = 0.8 * (1 - (1 - 1 / tau) ** (t + 1))
    print(f"tau={tau:4.0f}  largest difference {(v[:15] - exact).abs().max():.0e}")

# %% [markdown]
# `decay_input=False` leaves the input as it is, so that only the membrane is scaled.
#
# ## 5 What is T? One step or a whole sequence
# - A **single-step** module, such as `IFNode`, takes `[N, *]`: N samples, and any shape for the neurons. You write the
#   loop over time.
# - A **multi-step** module, such as `MultiStepIFNode`, takes the whole `x_seq` of shape `[T, N, *]` and loops inside,
#   where it may use a kernel that does all steps at once.
#
# T is the number of time steps: the first dimension, always. Data of shape `[B, C, T]` become `[T, B, C]` by
# `x.permute(2, 0, 1)`, and then nobody has to loop again. The results are the same:

# %%
torch.manual_seed(seed)
x_seq = torch.rand(20, 4, 3)  # [T, N, features]
single, multi = neuron.IFNode(), neuron.MultiStepIFNode()
one_by_one = torch.stack([single(x) for x in x_seq])
at_once = multi(x_seq)
print(tuple(at_once.shape), "equal spikes:", torch.equal(one_by_one, at_once))
print(tuple(multi.v.shape), "equal membranes:", torch.equal(single.v, multi.v))

# %% [markdown]
# ## 6 A recurrent connection
# Now let the output of a neuron come back as input one step later. A container holds the neuron and puts a function $f$
# of two arguments in front of it:
#
# $$i[t] = f(x[t],\, y[t-1]), \qquad y[-1] = 0$$
#
# $x[t]$ comes from outside, $y[t-1]$ is the container's own last output, and $i[t]$ is what reaches the neuron. Before the
# first step there is no output yet, hence $y[-1] = 0$. With addition for $f$, and one input of 1.5 at the start:

# %%
T = 8


def element_wise_add(x, y):
    return x + y


net = ElementWiseRecurrentContainer(neuron.IFNode(v_reset=None), element_wise_add)
print(net)
x = torch.zeros([T])
x[0] = 1.5
for t in range(T):
    print(t, f"x[t]={x[t]}, s[t]={net(x[t])}")

# %% [markdown]
# ## 7 Why does it keep firing?
# There is no input after the first step, and the neuron fires in every step. Work it out on paper before you read on:
# soft reset, threshold 1.
#
# | t | x[t] | y[t-1] | i = x + y[t-1] | v[t-1] | h = v[t-1] + i | s = (h ≥ 1) | v = h - s |
# |---|------|--------|----------------|--------|----------------|-------------|-----------|
# | 0 | 1.5  | 0      | 1.5            | 0      | 1.5            | 1           | 0.5       |
# | 1 | 0    | 1      | 1              | 0.5    | 1.5            | 1           | 0.5       |
# | 2 | 0    | 1      | 1              | 0.5    | 1.5            | 1           | 0.5       |
#
# Rows 1 and 2 are the same, and so is every row after them. The reset takes 1 from the membrane, the spike brings 1 back.
# The half that was over at the start is never used, and never lost. The module agrees with the table:

# %%
reset_net(net)
kept = trace(net, x)
for t in range(3):
    print(f"t={t}  x={kept.x[t]}  i={kept.i[t]}  h={kept.h[t]}  s={kept.s[t]}  v={kept.v[t]}")

# %% [markdown]
# **And with the hard reset?** Then the surplus of 0.5 is thrown away in step 0. In step 1 the membrane starts from 0,
# and the spike that comes back charges it to exactly 1, which is enough, since the neuron fires *at* the threshold. It
# goes on firing as well, but without anything to spare.
#
# **And with $x[0] = 0.9$?** There is no first spike, so nothing ever comes back. The membrane stays at 0.9.

# %%
weaker = x * 0.6  # 0.9 at t = 0
cases = {
    "x[0] = 1.5, hard reset": trace(ElementWiseRecurrentContainer(neuron.IFNode(), torch.add), x),
    "x[0] = 0.9, soft reset": trace(
        ElementWiseRecurrentContainer(neuron.IFNode(v_reset=None), torch.add), weaker
    ),
}
show(
    neuron_traces({"x[0] = 1.5, soft reset": kept, **cases}),
    alt="three columns: with an input of 1.5 both resets fire in every step, with 0.9 the neuron never fires",
)

# %% [markdown]
# *Hatched: what reaches the neuron. With 1.5 the spike keeps itself alive; the hard reset just so, at the threshold
# itself. With 0.9 the neuron is silent for ever. A single neuron with a loop has become a memory of one bit: was there
# ever enough input for a spike?*
#
# ## 8 Does the reset see the recurrent input?
# Yes. The container adds before the neuron does anything, so there is one $h[t] = v[t-1] + i[t]$ with everything in it,
# and both fire and reset work on that. Step 1 above shows it: $x[1] = 0$, and still $h[1]$ reaches the threshold, from
# the spike alone.
#
# One can get this wrong; [an early version of snnTorch did](https://github.com/jeshraghian/snntorch/issues/159), and has
# mended it. Let us rebuild the slip with a threshold of 1.5 and a reset that leaves in the membrane what came back:

# %%
kicks = [1.5, 0.5, 0.0, 0.0, 0.0, 0.0]
spike_trains = {}
for seen in ("all of h", "v and x only"):
    v, y, spike_trains[seen] = 0.0, 0.0, []
    for x_t in kicks:
        h = v + x_t + y
        s = float(h >= 1.5)
        v = h - s * (h if seen == "all of h" else v + x_t)
        y = s
        spike_trains[seen].append(int(s))
    print(f"the reset sees {seen:12} spikes {spike_trains[seen]}")

# %% [markdown]
# In step 1 the neuron gets 0.5 from outside and 1 from its own spike. If the reset leaves that 1 in the membrane, step 2
# starts from 1 instead of 0, and the neuron fires for ever. The container of `snn_core` resets all of it:

# %%
net = ElementWiseRecurrentContainer(neuron.IFNode(v_threshold=1.5), torch.add)
print([int(net(x_t)) for x_t in torch.tensor(kicks)])

# %% [markdown]
# ## 9 Try it
# In a running notebook, controls appear below: the input of step 0, the threshold, the reset, and whether the spike comes
# back. On a page without a kernel you see one more setting, drawn as a figure.
#
# Look for these: a threshold below 1 with the soft reset (where does the membrane go?), a threshold above 1 (how long
# does it last?), and no feedback with an input of 3.

# %%
driven_neuron()

# %%
x = torch.zeros(12)
x[0] = 3.0
net = ElementWiseRecurrentContainer(neuron.IFNode(v_threshold=1.25, v_reset=None), torch.add)
fading = trace(net, x)
show(
    neuron_traces({f"x[0] = 3, threshold 1.25, soft reset; spikes: {int(fading.s.sum())}": fading}),
    alt="a neuron with feedback and a threshold of 1.25: the membrane sinks from step to step until it stops firing",
)

# %% [markdown]
# *With a threshold of 1.25 each spike costs 1.25 and brings back 1. The membrane sinks by 0.25 in every step, and after a
# while the neuron falls silent. Exercise 2 asks when.*
#
# ## 10 When must state be reset?
# A neuron keeps $v$ and a container keeps $y$ until somebody tells them to forget. So a batch of new, unrelated samples
# would start with the membranes of the last batch. That is wrong, and you may not notice. Here is what you do notice.
# First: a batch of another size, as the last one of an epoch often is. The network has eight neurons with a dense
# recurrence, which section 12 explains, between two linear layers.

# %%
torch.manual_seed(seed)
recurrent = LinearRecurrentContainer(neuron.IFNode(surrogate_function=surrogate.ATan()), 8, 8)
net = nn.Sequential(nn.Linear(4, 8), recurrent, nn.Linear(8, 2))
net(torch.rand(10, 4))
try:
    net(torch.rand(3, 4))
except ValueError as error:
    print(f"{type(error).__name__}: {error}")

# %% [markdown]
# Second: train twice. Four steps for each batch, then `backward()`. The first time works.

# %%
reset_net(net)
try:
    for batch in range(2):
        loss = sum(net(x).square().mean() for x in torch.rand(4, 10, 4))
        loss.backward()
        print(f"batch {batch}: done")
except RuntimeError as error:
    print(f"batch {batch}: {type(error).__name__}: {error}")

# %% [markdown]
# ### What "backward through the graph a second time" means
# The membrane is not just a number: it hangs on the graph of all operations that made it, back to the first step of the
# first batch. So the loss of batch 1 depends on batch 0 too, and its gradient has to go through the graph of batch 0,
# where `backward()` has already freed what it needs.
#
# The message suggests `retain_graph=True`. That is not the cure. The graph then grows with every batch, and as soon as an
# optimizer has changed the weights, the old graph does not fit to them any longer:

# %%
reset_net(net)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
try:
    for batch in range(2):
        loss = sum(net(x).square().mean() for x in torch.rand(4, 10, 4))
        loss.backward(retain_graph=True)
        optimizer.step()
        print(f"batch {batch}: done")
except RuntimeError as error:
    print(f"batch {batch}: {type(error).__name__}: {str(error).partition(':')[0]}")

# %% [markdown]
# The question to ask is: what should cross the border between the two?

# %%
show(
    borders(),
    alt="three cases. Nothing: the state crosses to batch 1, the gradient goes back into batch 0, whose graph is gone. "
    "reset_net: nothing crosses. detach_net: the state crosses, the gradient stops at the border",
)

# %% [markdown]
# *What crosses the border between two batches: the state (blue, v and y) goes forward, the gradient (dashed) goes back.*
#
# **New samples: `reset_net` between batches.** This is the usual case, and the one in chapters 03 to 05.

# %%
reset_net(net)
for batch in range(3):
    optimizer.zero_grad()
    loss = sum(net(x).square().mean() for x in torch.rand(4, 10, 4))
    loss.backward()
    optimizer.step()
    reset_net(net)
    print(f"batch {batch}: done, v is {recurrent.sub_module.v}, y is {recurrent.y}")

# %% [markdown]
# **One long sequence in pieces: `detach_net` between pieces.** The next piece goes on where the last one ended, but the
# gradient ends at the border. This is truncated backpropagation through time (BPTT): memory and time for a step depend on
# the length of a piece, not of the sequence.

# %%
for piece in torch.rand(12, 10, 4).split(4):
    optimizer.zero_grad()
    loss = sum(net(x).square().mean() for x in piece)
    loss.backward()
    optimizer.step()
    detach_net(net)
    print(f"{len(piece)} steps: done, v is kept, {tuple(recurrent.sub_module.v.shape)}")

# %% [markdown]
# What does the cut change? Not the spikes. But the loss of the last piece no longer knows of the first ones: here is the
# size of its gradient with respect to the input of each of 12 steps.

# %%
torch.manual_seed(seed)
long = torch.rand(12, 10, 4)
gradients, outputs = {}, {}
for name in ("whole", "in pieces of 4"):
    reset_net(net)
    x_seq, out = long.clone().requires_grad_(), []
    for t in range(12):
        if name != "whole" and t % 4 == 0:
            detach_net(net)
        out.append(net(x_seq[t]))
    sum(o.square().mean() for o in out[8:]).backward()
    gradients[name], outputs[name] = x_seq.grad.norm(dim=(1, 2)), torch.stack(out).detach()
    print(f"{name:15}", " ".join(f"{g:.4f}" for g in gradients[name]))
print("equal outputs:", torch.equal(*outputs.values()))

# %% [markdown]
# The cut gradient is zero before the border at step 8. From there on it is the whole one.
#
# ## 11 How do I record v inside a recurrent container?
# Ask the neuron to record, and the container for its neuron, which is called `sub_module`. This works step by step, and
# within a `MultiStepContainer` as well, which is a sequence of modules and is indexed like one.

# %%
inner = neuron.IFNode(v_reset=None, store_v_seq=True)
net = MultiStepContainer(ElementWiseRecurrentContainer(inner, torch.add))
x_seq = torch.zeros(8, 1)  # [T, N]
x_seq[0] = 1.5
net(x_seq)
print(tuple(net[0].sub_module.v_seq.shape), net[0].sub_module.v_seq.flatten().tolist())

# %% [markdown]
# `v_seq` has the shape `[T, N, *]` and goes back to the last reset. Recorded is $v$, after the reset; for $h$ and $i$ use
# `trace`. A neuron that records takes the readable loop and not the fused kernel, so switch it on to look, and off to
# train. Without it you are told so:

# %%
try:
    print(ElementWiseRecurrentContainer(neuron.IFNode(), torch.add).sub_module.v_seq)
except RuntimeError as error:
    print(f"{type(error).__name__}: {error}")

# %% [markdown]
# ## 12 One-to-one or dense recurrence?
# With `ElementWiseRecurrentContainer` each neuron hears itself only. `LinearRecurrentContainer` lets every neuron hear
# every other, with weights that are learned. It puts input and last output side by side and multiplies:
#
# $$i[t] = \bigl[x[t];\, y[t-1]\bigr]\, W^T + b$$
#
# For n neurons $W$ has n rows and 2n columns, of which the right half is the recurrence. Addition of $x$ and $y$ is one
# special case: two identity matrices, and no bias.

# %%
torch.manual_seed(seed)
dense = LinearRecurrentContainer(neuron.IFNode(v_reset=None), 4, 4, bias=False)
one_to_one = torch.cat([torch.eye(4), torch.eye(4)], dim=1)
show(
    recurrent_weights(
        {"f = x + y, fixed": one_to_one, "LinearRecurrentContainer, untrained": dense.rc.weight.detach()}
    ),
    alt="two matrices of 4 rows and 8 columns: two identity matrices side by side, and random weights everywhere",
)

# %% [markdown]
# *Left of the black line: how inputs reach the neurons. Right of it: how their last spikes do. On the left matrix only
# the diagonals are there: one-to-one. On the right one everything is connected to everything, and a weight below zero
# means that a spike inhibits.*
#
# Put the left matrix into the dense container, and it does what the other one does:

# %%
dense.rc.weight.data.copy_(one_to_one)
element_wise = ElementWiseRecurrentContainer(neuron.IFNode(v_reset=None), torch.add)
x_seq = torch.rand(20, 5, 4)
pairs = [(dense(x), element_wise(x)) for x in x_seq]
print("equal spikes:", all(torch.equal(a, b) for a, b in pairs))
for n in (4, 32):
    weights = sum(p.numel() for p in LinearRecurrentContainer(neuron.IFNode(), n, n).parameters())
    print(f"{n} neurons: one-to-one 0 parameters, dense {weights:,} (2n x n weights and n biases)")

# %% [markdown]
# Take one-to-one if a neuron should hold on to something by itself, and dense if neurons should tell each other what
# they saw. [Chapter 04](04_three_networks.ipynb) builds a network with the dense one.
#
# ## 13 Sequences of different length in one batch
# Pad the short ones with zeros behind their end, run the batch, and **use nothing from the padding**. A step never
# depends on later ones, and samples of a batch do not see each other, so what comes before the end is right already.

# %%
torch.manual_seed(seed)
lengths = torch.tensor([12, 9, 5, 3])
samples = [torch.rand(length, 4) for length in lengths]  # [T_n, features]
padded = pad_sequence(samples)  # [T, N, features]
print(tuple(padded.shape))

net = MultiStepContainer(ElementWiseRecurrentContainer(neuron.IFNode(v_reset=None), torch.add))
s_seq = net(padded)

# %%
show(
    padded_batch(s_seq[..., 1], lengths.tolist()),
    alt="spikes of one neuron for four samples of 12, 9, 5 and 3 steps; the padding is hatched, and has spikes in it",
)

# %% [markdown]
# *Spikes of one of the four neurons. A black line marks the end of each sample, the padding behind it is hatched. Zeros are
# input, not silence: with its spike fed back a neuron goes on firing, as in section 6. A plain mean over T would count
# those spikes.*
#
# Two ways to read out: the last step of each sample, by index, or the mean over its own steps, by a mask.

# %%
last = s_seq[lengths - 1, torch.arange(len(lengths))]  # [N, features]

mask = torch.arange(len(s_seq))[:, None] < lengths  # [T, N]
rate = (s_seq * mask[..., None]).sum(0) / lengths[:, None]  # [N, features]

# %%
for n, sample in enumerate(samples):
    reset_net(net)
    alone = net(sample[:, None])[:, 0]  # [T_n, features]
    same = torch.equal(alone[-1], last[n]), torch.equal(alone.sum(0) / lengths[n], rate[n])
    print(f"{lengths[n]:2} steps: last step equal {same[0]}, rate equal {same[1]}; ", end="")
    print(f"mean rate {rate[n].mean():.2f}, over the padding too {s_seq[:, n].mean():.2f}")

# %% [markdown]
# Equal to the last bit. (A dense recurrence multiplies matrices, which may be rounded differently for another batch size:
# compare with a tolerance there.) The state after the batch belongs to the end of the padding, so reset it.
#
# ## 14 Keep the result

# %%
result = {
    "spikes_hard": int(hard.s.sum()),
    "spikes_soft": int(soft.s.sum()),
    "differences_by_hand": differences,
    "kept": {name: getattr(kept, name).tolist() for name in "xihsv"},
    "spikes": {name: record.s.tolist() for name, record in cases.items()},
    "reset_sees": spike_trains,
    "fading_spikes": int(fading.s.sum()),
    "gradients": {name: g.tolist() for name, g in gradients.items()},
    "rates": rate.tolist(),
}
write_json(Path(results_dir) / "chapter_01.json", result | {"seed": seed, "provenance": where})

# %% [markdown]
# ## Exercises
# 1. Let the spike inhibit: $f(x, y) = x - y$. What does a constant input of 0.75 give, with and without it?
# 2. With feedback and a soft reset, after how many spikes does a neuron stop, for $x[0] = a$ and a threshold
#    $\theta > 1$? Find the formula, and check it.
# 3. Write the leak: turn `if_by_hand` into an LIF neuron with the soft reset. Does the neuron of section 6 still keep
#    itself alive?
#
# <details><summary>Solution 1</summary>
#
# ```python
# constant = torch.full([12], 0.75)
# inhibited = ElementWiseRecurrentContainer(neuron.IFNode(v_reset=None), torch.sub)
# print("without", trace(neuron.IFNode(v_reset=None), constant).s.int().tolist())
# print("with   ", trace(inhibited, constant).s.int().tolist())
# ```
# Each spike takes 1 from the membrane in the reset, and 1 more in the step after it: a spike costs twice as much, and the
# neuron fires about half as often. This is one way in which neurons adapt.
# </details>
#
# <details><summary>Solution 2</summary>
#
# The first charge is $h[0] = a$. While it fires, the reset takes $\theta$ and the spike brings 1, so
# $h[t] = a - t(\theta - 1)$. It fires while that is at least $\theta$: for $a \ge \theta$ there are
# $\lfloor (a - \theta) / (\theta - 1) \rfloor + 1$ spikes.
#
# ```python
# for a, threshold in ((3.0, 1.25), (1.5, 1.25), (3.0, 1.5), (1.0, 1.25)):
#     x = torch.zeros(30)
#     x[0] = a
#     net = ElementWiseRecurrentContainer(neuron.IFNode(v_threshold=threshold, v_reset=None), torch.add)
#     formula = (a - threshold) // (threshold - 1) + 1 if a >= threshold else 0
#     print(f"a={a} threshold={threshold}: {trace(net, x).s.sum():.0f} spikes, formula {formula:.0f}")
# ```
# With a threshold of 1 nothing is lost and it never stops. With a threshold below 1 each spike brings more than it costs:
# the membrane grows without end.
# </details>
#
# <details><summary>Solution 3</summary>
#
# ```python
# def lif_by_hand(x, v, y, tau=2.0):
#     h = v + (x + y - v) / tau
#     s = (h >= 1).to(h)
#     return s, h - s
#
#
# for a in (1.5, 4.0):
#     x = torch.zeros(8)
#     x[0] = a
#     s = v = torch.tensor(0.0)
#     by_hand = []
#     for t in range(8):
#         s, v = lif_by_hand(x[t], v, s)
#         by_hand.append(int(s))
#     net = ElementWiseRecurrentContainer(neuron.LIFNode(tau=2.0, v_reset=None), torch.add)
#     print(f"x[0]={a}: {by_hand}, the same from snn_core: {trace(net, x).s.int().tolist() == by_hand}")
# ```
# No. With $\tau = 2$ an input of 1.5 charges to 0.75 and never fires at all. With 4 it fires twice; then half of the spike
# that comes back is not enough for the threshold. To stay alive it would need a feedback weight.
# </details>
#
# ## What was learned
# - A spiking neuron charges, fires, resets, in that order. Its memory is one number, $v$.
# - A recurrent connection adds the last output to the next input, before the charge, so fire and reset see it. One neuron
#   whose spike pays for the next one remembers for ever.
# - State lives until you say otherwise: `reset_net` for new samples, `detach_net` for the next piece of a sequence.
# - One-to-one recurrence is dense recurrence with a fixed diagonal matrix.
# - Padding is input. Read each sample at its own end.
#
# <!-- navigation, written by tools/frame_notebooks.py -->
# Next: [02 Stateful synapses: a current that outlives the spike](02_stateful_synapses.ipynb)
# <!-- end of navigation -->
