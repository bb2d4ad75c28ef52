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
# # 02 Stateful synapses: a current that outlives the spike
#
# <!-- links, written by tools/frame_notebooks.py -->
# Open in [Binder](https://mybinder.org/v2/gh/snn-core/recurrent-snn-tutorials/main?labpath=notebooks%2F02_stateful_synapses.ipynb) · [Colab](https://colab.research.google.com/github/snn-core/recurrent-snn-tutorials/blob/main/notebooks/02_stateful_synapses.ipynb) · [nbviewer](https://nbviewer.org/github/snn-core/recurrent-snn-tutorials/blob/main/notebooks/02_stateful_synapses.ipynb)
# <!-- end of links -->
#
# **Goal.** Build the synapse filter from its equation, find out what it does that a low-pass does not, and watch its
# time constant being learned.
#
# **You will be able to**
# - compute the current of a stateful synapse by hand,
# - say why it is not a low-pass filter, and what its mean current is for random spikes,
# - turn a time constant into a half-life,
# - put a filter behind a convolution, and know what it does to an input that is not made of spikes,
# - learn one time constant, or one for each channel, by gradient descent.
#
# <!-- time, written by tools/frame_notebooks.py -->
# **Time.** 7 seconds to run on 2 cores (AMD EPYC).
# <!-- end of time -->
#
# **The idea.** A synapse without state hands on `weight * spike`: one step later nothing is left of it. A *stateful*
# synapse keeps a current that jumps with each spike and fades in between. That is memory, outside of the neurons.

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
trains = 4000  # random spike trains in the simulation of section 3; the error falls with their square root
results_dir = "../results"

# %% [markdown]
# ## 1 Setup

# %%
import inspect
from pathlib import Path

import numpy as np
import torch
from IPython.display import Code
from torch import nn
from torch.nn import functional as F

from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.files import write_json
from sequential_fmnist.provenance import provenance
from snn_core.functional import reset_net, synapse_filter_step
from snn_core.layer import LinearRecurrentContainer, SynapseFilter
from snn_core.neuron import IFNode
from snn_tutorial.plot import synapses as plot
from snn_tutorial.plot.show import show
from snn_tutorial.widgets.synapse import synapse_explorer

where = provenance()
print(f"snn_core {where['snn_core']}, torch {where['torch']}, {where['processor']}, {where['cores']} cores")

# %% [markdown]
# ## 2 The equation, by hand
# $s[t]$ is 1 in a step with a spike and 0 in a silent one. The current $I$ starts at $I[-1] = 0$:
#
# $$I[t] = I[t-1] - (1 - s[t])\,\tfrac{1}{\tau}\,I[t-1] + s[t]$$
#
# It is the synapse of H. Fang et al., ["Exploiting neuron and synapse filter dynamics in spatial temporal learning of deep
# spiking neural network"](https://arxiv.org/abs/2003.02944), IJCAI 2020, in the discrete form that SpikingJelly gave it.
#
# Read the equation twice, once for each value of $s[t]$. A silent step takes away the part $1/\tau$ of the current. A step with a
# spike adds 1, and takes nothing away.


# %%
def synapse_current(s, tau):  # s: [T, *]
    i, trace = torch.zeros_like(s[0]), []
    for spike in s:
        i = i - (1 - spike) * i / tau + spike
        trace.append(i)
    return torch.stack(trace)  # [T, *]


# %% [markdown]
# With $\tau = 2$ a silent step halves the current, so you can follow every number in your head:

# %%
s = torch.tensor([1.0, 0, 0, 1, 1, 0])
by_hand = synapse_current(s, tau=2)
for t, (spike, i) in enumerate(zip(s, by_hand, strict=True)):
    print(f"t = {t}   s[t] = {spike:.0f}   I[t] = {i:g}")

# %% [markdown]
# ### Does the package do what the equation says?
# This is the step in `snn_core`, as it stands there. It takes $1/\tau$ as `inv_tau`, and is otherwise the same line:

# %%
Code(inspect.getsource(synapse_filter_step), language="python")

# %% [markdown]
# `SynapseFilter` is the module around it: it keeps the current from one call to the next. On the CPU a sequence runs
# in one compiled kernel, so it is worth comparing on something less tidy: 200 steps of random spikes and an odd
# $\tau$, in double precision.

# %%
torch.manual_seed(seed)
random_spikes = torch.bernoulli(torch.full((200, 8), 0.3, dtype=torch.float64))  # [T, N]
ours = SynapseFilter(tau=7.3).double()
gap = (ours.forward_sequence(random_spikes) - synapse_current(random_spikes, tau=ours.tau)).abs().max().item()
print("largest difference below 1e-12:", gap < 1e-12)

# %% [markdown]
# ## 3 What is special: no decay where a spike arrives
# The textbook's low-pass filter decays in *every* step:
#
# $$I[t] = (1 - \tfrac{1}{\tau})\,I[t-1] + s[t]$$


# %%
def low_pass(s, tau):  # s: [T, *]
    i, trace = torch.zeros_like(s[0]), []
    for spike in s:
        i = (1 - 1 / tau) * i + spike
        trace.append(i)
    return torch.stack(trace)  # [T, *]


# %% [markdown]
# Multiply out the synapse filter's equation to see what the two have in common:
#
# $$I[t] = \underbrace{(1 - \tfrac{1}{\tau})\,I[t-1] + s[t]}_{\text{low-pass}} + \tfrac{1}{\tau}\,s[t]\,I[t-1]$$
#
# The last term is a product of input and state. A spike that falls on a current counts for more than 1: it also holds
# off the decay. In a burst the filter simply counts. Here is the same spike train through both:

# %%
spikes = torch.tensor([0.0, 1, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0])
filters = {"synapse filter": synapse_current, "low-pass": low_pass}
both = {name: run(spikes, 5).numpy() for name, run in filters.items()}
show(
    plot.traces(spikes.numpy(), both, title=r"$\tau$ = 5 steps"),
    alt="a spike train with a burst of five spikes, and the currents of both filters: the synapse filter climbs by one "
    "in each step of the burst, the low-pass bends towards its limit",
)

# %% [markdown]
# *One spike alone: no difference. In the burst the synapse filter climbs by exactly 1 in each step, the low-pass bends.
# After the burst both fade at the same rate, from different heights.*
#
# In a running notebook, draw a spike train yourself: one button for each step, and a slider for $\tau$. On a page
# without a kernel you see one setting, drawn as a figure. Try all buttons on, and then $\tau$ at both of its ends.

# %%
every_third = [int(t % 3 == 0) for t in range(20)]
synapse_explorer(every_third, tau=10)

# %%
show(
    plot.traces(every_third, plot.currents(every_third, 10), title=r"$\tau$ = 10 steps"),
    alt="a spike in every third step, and the currents of both filters at tau = 10",
)

# %% [markdown]
# *A spike in every third step, $\tau = 10$. The more regular and frequent the spikes, the wider the gap.*
#
# ### So is it a linear filter?
# A filter $F$ is linear if it obeys superposition, $F(s_a + s_b) = F(s_a) + F(s_b)$: what two trains cause together is
# the sum of what each causes alone. Two trains that never fire in the same step make a fair test, for their sum is a
# spike train again.

# %%
s_a = torch.tensor([0.0, 1, 0, 0, 1, 0, 0, 0, 0])
s_b = torch.tensor([0.0, 0, 1, 0, 0, 1, 0, 0, 0])
responses = {name: (run(s_a + s_b, 2), run(s_a, 2) + run(s_b, 2)) for name, run in filters.items()}
for name, (together, alone) in responses.items():
    print(f"{name:14}  together {together[5]:.3f}   sum of both alone {alone[5]:.3f}   at t = 5")

# %%
show(
    plot.superposition(responses),
    alt="the synapse filter's response to both trains lies above the sum of its responses to each; for the low-pass "
    "the two agree",
)

# %% [markdown]
# *The low-pass obeys superposition, the synapse filter does not.*
#
# Control theory calls such a system **bilinear**: hold $I[t-1]$, and $s[t]$ enters linearly; hold $s[t]$, and $I[t-1]$
# does; but they are multiplied with each other. What you know about linear filters, such as impulse responses and
# convolutions, does not carry over.
#
# ### How large does the current get?
# Let a spike come in each step with probability $p$, independently of all others. Then $s[t]$ does not depend on
# $I[t-1]$, and the mean of a product is the product of the means:
#
# $$E[I[t]] = E[I[t-1]] - \tfrac{1-p}{\tau}\,E[I[t-1]] + p$$
#
# In the steady state both means are the same, $\tfrac{1-p}{\tau}E[I] = p$, and so
#
# $$E[I] = \tau\,\frac{p}{1-p} \quad\text{(synapse filter)}, \qquad E[I] = \tau\,p \quad\text{(low-pass)}$$
#
# The low-pass is bounded by $\tau$. The mean of the synapse filter grows without bound as $p \to 1$: in the limit no step
# is silent, so nothing ever decays. It also takes longer to get there, as the distance to the mean shrinks by only
# $1 - (1-p)/\tau$ in each step.
#
# Do not believe it; throw the dice. Each of many independent trains gives one value of $I$ long after the start. The
# 95 % confidence interval of their mean is $\pm 1.96$ standard errors.

# %%
torch.manual_seed(seed)
tau, p = 10, torch.tensor([0.1, 0.3, 0.5, 0.7, 0.8, 0.9], dtype=torch.float64)
synapse, low = SynapseFilter(tau=tau).double(), 0.0
for _ in range(1500):  # at p = 0.9 the distance to the mean falls by 1 % in each step
    s = torch.bernoulli(p.expand(trains, -1))  # [N, P]
    low = (1 - 1 / tau) * low + s
    current = synapse(s)

# %%
simulated = {
    name: (i.mean(0), 1.96 * i.std(0) / trains**0.5)
    for name, i in {"synapse filter": current, "low-pass": low}.items()
}
derived = {"synapse filter": tau * p / (1 - p), "low-pass": tau * p}
for name, (mean, half_width) in simulated.items():
    for k, prob in enumerate(p):
        print(
            f"{name:14}  p = {prob:.1f}   derived {derived[name][k]:6.2f}   "
            f"simulated {mean[k]:6.2f} ± {half_width[k]:.2f}"
        )

# %%
show(
    plot.mean_current(p, simulated, tau),
    alt="mean current against the probability of a spike, derived and simulated: the synapse filter's rises without "
    "bound towards p = 1, the low-pass's stays below tau",
)

# %% [markdown]
# *Lines: derived. Marks: simulated, with 95 % confidence intervals, mostly smaller than the mark. Of such intervals, one
# in twenty misses the true mean by chance.*
#
# For rare spikes the two filters agree, since $p/(1-p) \approx p$. Where neurons fire often, the synapse filter gives far
# larger currents than a low-pass with the same $\tau$. Keep this in mind when you replace one by the other.
#
# ## 4 How long does it remember?
# In silence the current shrinks by $1 - 1/\tau$ in each step. Half of it is left after $n$ steps, where
#
# $$(1 - \tfrac{1}{\tau})^{n} = \tfrac{1}{2} \quad\Rightarrow\quad n_{1/2} = \frac{\ln 2}{-\ln(1 - 1/\tau)}$$

# %%
taus = np.array([2.0, 5.0, 20.0, 100.0])
half_life = np.log(2) / -np.log(1 - 1 / taus)
for tau, n in zip(taus, half_life, strict=True):
    print(f"tau = {tau:5.0f} steps   half-life {n:6.2f} steps   tau * ln 2 = {tau * np.log(2):6.2f}")

# %% [markdown]
# For a large $\tau$ the half-life is close to $\tau\ln 2$; for a small one it is shorter than that.

# %%
show(
    plot.half_lives(taus, half_life),
    alt="current after a spike against the number of silent steps, for four time constants; a mark where half is left",
)

# %% [markdown]
# *What is left of a spike. The time axis is logarithmic. A picture of Fashion-MNIST lasts 28 steps: with $\tau = 2$ its
# first columns are long gone at its end, with $\tau = 100$ three quarters of them
# are still there.*
#
# ## 5 A convolution with memory
# The filter goes behind a synapse without state and makes it stateful. This is the text's own example:

# %%
torch.manual_seed(seed)
stateful_conv = nn.Sequential(
    nn.Conv2d(3, 16, kernel_size=3, padding=1, stride=1),
    SynapseFilter(tau=100, learnable=True),
)

# %% [markdown]
# It wants spikes in three channels. We take a grey picture three times, and let every pixel of every channel fire in
# each step with a probability equal to its brightness:

# %%
test = SequentialFashionMNIST(train=False, source="embedded")
image = (test.images[0, 0] / 255).expand(3, 28, 28)  # [C, H, W]
torch.manual_seed(seed)
T = 64
image_spikes = torch.bernoulli(image.expand(T, 1, 3, 28, 28))  # [T, N, C, H, W]
with torch.no_grad():
    current = torch.stack([stateful_conv(s) for s in image_spikes])  # [T, N, 16, H, W]
print("spikes", tuple(image_spikes.shape), "  current", tuple(current.shape))

# %%
channel = int(current[-1, 0].amax((1, 2)).argmax())  # the one with the largest current at the end
show(
    plot.current_maps(
        image_spikes[:, 0, 0].numpy(),
        current[:, 0, channel].numpy(),
        [3, 7, 15, 31, 63],
        f"channel {channel}",
    ),
    alt="above: a boot as random spikes in five time steps; below: the current of one channel, which grows from noise to "
    "a smooth picture of the boot",
)

# %% [markdown]
# *Above: the input spikes of single steps, a noisy hint of the boot. Below: the current of one channel in the same steps.
# It adds up what came before, so the picture grows stronger and smoother.*
#
# Look at the background, too. No spike ever comes from there, and yet it has a colour: see below.
#
# ### What if the filter gets a current instead of spikes?
# Here it does. A convolution gives weighted sums $x[t]$, not zeros and ones, and the equation never checks:
#
# $$I[t] = \bigl(1 - \tfrac{1 - x[t]}{\tau}\bigr)\,I[t-1] + x[t]$$
#
# For a spike the factor in front is $1$, in silence it is $1 - 1/\tau$. For other inputs it leaves that range:
#
# | input | factor | effect |
# |---|---|---|
# | $0 \le x \le 1$ | from $1 - 1/\tau$ to $1$ | decays, the slower the larger $x$ |
# | $x > 1$ | above $1$ | the current grows by itself |
# | $1 - \tau \le x < 0$ | from $0$ to $1 - 1/\tau$ | decays faster than in silence |
# | $x < 1 - \tau$ | negative | the current changes its sign; below $1 - 2\tau$ it grows as well |

# %%
with torch.no_grad():
    x = stateful_conv[0](image_spikes.flatten(0, 1)).unflatten(0, (T, 1))  # what the filter was given
factor = 1 - (1 - x) / 100
print(f"x from {x.min():.2f} to {x.max():.2f}, factor from {factor.min():.4f} to {factor.max():.4f}")
print(
    f"above 1: {(x > 1).float().mean():.2%} of all x, {(x[:, 0, channel] > 1).float().mean():.2%} in channel {channel}"
)
print(f"largest current {current.max():.1f}, with a low-pass {low_pass(x, 100).max():.1f}")

# %% [markdown]
# With weights as they are drawn at the start this is mild. It need not stay so: weights grow in training, and a small
# $\tau$ widens the range of factors. An input that stays the same shows where it leads. For $1 - 2\tau < x < 1$ the
# current settles at
#
# $$I = \tau\,\frac{x}{1 - x}$$
#
# which is the mean from section 3, with $x$ in place of $p$. At $x = 1$ it grows by 1 in each step, above it
# exponentially.

# %%
constant = {x: plot.currents([x] * 300, tau=100) for x in (-1.0, 0.5, 1.0, 1.2)}
show(
    plot.constant_inputs(constant),
    alt="current for four constant inputs: below 1 both filters settle, from 1 on the synapse filter's grows without end",
)

# %% [markdown]
# *Constant inputs, $\tau = 100$. The low-pass treats $-1$ and $1$ alike; the synapse filter damps negative inputs and
# amplifies positive ones.*
#
# The bias of the convolution is such a constant input, in every step and for every pixel. That is the colour of the
# background:

# %%
bias = stateful_conv[0].bias[channel].item()
settled = 100 * bias / (1 - bias)
expected = settled * (1 - (1 - (1 - bias) / 100) ** T)
background = current[-1, 0, channel, 0, 0].item()
print(f"bias {bias:.3f}   background after {T} steps {background:.3f}, from the equation {expected:.3f}")
print(f"in the end it would be {settled:.1f}")

# %% [markdown]
# ### Before or after the weights?
# For a linear filter it does not matter: filtering spikes and then weighting them is the same as weighting first. For this
# one it does. We try both orders, with the convolution's weights and without its bias:

# %%
weight = stateful_conv[0].weight.detach()
order_gap = {}
for name, run in filters.items():
    filtered = run(image_spikes[:, 0], 100)  # [T, C, H, W]
    before = F.conv2d(filtered, weight, padding=1)
    after = run(F.conv2d(image_spikes[:, 0], weight, padding=1), 100)
    order_gap[name] = ((before - after)[-1].abs().max() / before[-1].abs().max()).item()
    print(
        f"{name:14}  largest difference between the two orders {order_gap[name]:.2%} of the largest current"
    )

# %% [markdown]
# So choose with care. The text does both: its example puts the filter behind the convolution, where it gets a current.
# Its `StatefulSynapseNet`, which [chapter 05](05_training_curves.ipynb) trains, has it right behind spiking neurons and
# *before* the weights of the next layer. There its input is 0 or 1, as the equation was meant.
#
# ## 6 Can a time constant be learned?
# Yes: the current is differentiable in $\tau$, with no surrogate needed. But $\tau$ must stay above 1, or the factor
# $1 - 1/\tau$ turns negative and the current changes its sign in each silent step. An optimizer does not know that. So
# it is given a number $w$ that may take any value:
#
# $$\tfrac{1}{\tau} = \operatorname{sigmoid}(w) = \frac{1}{1 + e^{-w}} \quad\Rightarrow\quad \tau = 1 + e^{-w} > 1$$

# %%
for w in (-5.0, -1.0, 0.0, 5.0):
    synapse = SynapseFilter(tau=2.0, learnable=True)
    nn.init.constant_(synapse.w, w)
    print(f"w = {w:4.1f}   tau = {synapse.tau.item():7.3f}")

# %% [markdown]
# A step in $w$ does not add to $\tau$, it multiplies $\tau - 1$: that suits a quantity which may be 2 or 100.
#
# ### Watch tau learn
# Somewhere a filter with a hidden $\tau$ turned spikes into a current. Ours starts at $\tau = 2$, gets the same spikes,
# and is to reproduce the current. The loss is the mean squared error; one step of gradient descent follows the other.


# %%
def learn_tau(synapse, optimizer, spikes, target, steps):
    losses, taus = [], []
    for _ in range(steps):
        reset_net(synapse)  # every pass starts with I[-1] = 0, like the target
        loss = (synapse.forward_sequence(spikes) - target).square().mean()
        losses.append(loss.item())
        taus.append(synapse.tau.tolist())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return np.array(losses), np.array(taus)


# %%
torch.manual_seed(seed)
hidden_tau = 12.0
spikes = torch.bernoulli(torch.full((100, 16), 0.2))  # [T, N]
target = SynapseFilter(tau=hidden_tau).forward_sequence(spikes)
synapse = SynapseFilter(tau=2.0, learnable=True)
losses, taus = learn_tau(synapse, torch.optim.SGD(synapse.parameters(), lr=0.03), spikes, target, steps=60)
for step in (0, 10, 20, 30, 59):
    print(f"step {step:2}   tau {taus[step]:7.4f}   loss {losses[step]:.2e}")

# %% [markdown]
# There is one parameter, so the whole loss can be drawn. A filter with one $\tau$ for each of 80 channels computes it in
# one go:

# %%
grid = torch.linspace(1.2, 20, 80)
copies = spikes.unsqueeze(2).expand(-1, -1, 80)  # [T, N, C]: the same spikes in each channel
error = SynapseFilter(tau=grid).forward_sequence(copies) - target.unsqueeze(2)
show(
    plot.tau_fit(losses, taus, hidden_tau, (grid, error.square().mean((0, 1)))),
    alt="loss and tau against the step of gradient descent, and the loss as a function of tau with all steps marked on it",
)

# %% [markdown]
# *Left: loss, on a logarithmic axis. Middle: $\tau$, on its way from 2 to the hidden 12. Right: the loss as a function
# of $\tau$, with a mark for each step. The marks lie close at first, where a step in $w$ moves $\tau$ little, and again at the
# bottom, where the loss is flat.*
#
# Real networks see no target current; there the gradient comes from the loss at the output. The mechanism is the same.
#
# ### One time constant or many?
# `SynapseFilter(tau=100.0)` has a single $\tau$ for everything. A list gives one to each channel, dimension 1 of
# `[N, C, *]`. Five channels with five hidden time constants; all of ours start at 5:

# %%
torch.manual_seed(seed)
hidden_taus = [1.5, 3.0, 8.0, 20.0, 50.0]
spikes = torch.bernoulli(torch.full((100, 16, 5), 0.2))  # [T, N, C]
target = SynapseFilter(tau=hidden_taus).forward_sequence(spikes)
per_channel = SynapseFilter(tau=[5.0] * 5, learnable=True)
(per_channel.forward_sequence(spikes) - target).square().mean().backward()
print("gradient of the loss in each w:", [round(g, 3) for g in per_channel.w.grad.tolist()])

# %% [markdown]
# The gradients differ by more than an order of magnitude. One learning rate for all would suit only some, so we use Adam,
# which scales each. For comparison, a filter with one $\tau$ has to fit all five channels:

# %%
_, channel_taus = learn_tau(
    per_channel, torch.optim.Adam(per_channel.parameters(), lr=0.1), spikes, target, steps=200
)
shared = SynapseFilter(tau=5.0, learnable=True)
shared_losses, shared_taus = learn_tau(
    shared, torch.optim.Adam(shared.parameters(), lr=0.1), spikes, target, steps=200
)
for hidden, found in zip(hidden_taus, channel_taus[-1], strict=True):
    print(f"hidden {hidden:5.1f}   found {found:8.4f}")
print(f"one tau for all: {shared_taus[-1]:.2f}, with a loss of {shared_losses[-1]:.2f} left")

# %%
show(
    plot.channel_fit(channel_taus, hidden_taus, shared_taus),
    alt="five time constants that start at 5 and reach the five hidden ones, and a single one that ends in between",
)

# %% [markdown]
# *Each channel finds its own time constant (dotted: the hidden ones). A shared one ends in between and fits none.*
#
# The networks of the text share a single $\tau$ among all hidden neurons: one parameter. A time constant for each neuron
# costs 32, and lets some neurons forget quickly while others keep the past.
#
# ## 7 Where does the state sit?
# The text's reference [1] works with an SRNN, a recurrent network of spiking neurons (B. Yin, F. Corradi, S. M. Bohté,
# "Effective and efficient computation with multiple-timescale spiking recurrent neural networks", ICONS 2020). Our own
# picture of such a network marks all places that carry something from one step to the next. The synapse filter is our
# addition; it stands where `StatefulSynapseNet` has it.

# %%
show(
    plot.srnn(),
    alt="input, a recurrent layer of spiking neurons and a read-out; membrane state sits in the neurons, the last spikes "
    "in the loop around the recurrent layer, synapse state in the filter before the read-out",
)

# %% [markdown]
# *Weights have no state. The neurons keep their membrane potential, the loop keeps the last spikes, the filter keeps
# its current.*
#
# The same network in code, with 32 inputs, 32 recurrent neurons and 10 outputs. Each state appears with the first input
# and takes its shape: `[N, *]`, one value for every sample of the batch.

# %%
srnn = nn.Sequential(
    LinearRecurrentContainer(IFNode(), in_features=32, out_features=32),
    SynapseFilter(tau=2.0, learnable=True),
    nn.Linear(32, 10),
    IFNode(),
)
_ = srnn(torch.rand(4, 32))  # one time step for 4 samples
states = {name: list(state.shape) for name, state in srnn.named_buffers()}
for name, shape in states.items():
    print(f"{name:14} {shape}")

# %% [markdown]
# ### Must a synapse be reset, too?
# Yes. Its current belongs to the samples of one batch, and `reset_net` clears it together with all membranes, as
# [chapter 01](01_spiking_neurons.ipynb) does for neurons. Forget it, and the next batch starts with the currents of the
# last one; if its size differs, you are told:

# %%
try:
    srnn[1](torch.rand(5, 32))
except ValueError as error:
    print(error)
reset_net(srnn)
print("states after reset_net:", [name for name, _ in srnn.named_buffers()])

# %% [markdown]
# ## 8 Keep the result

# %%
numbers = {
    "by_hand": by_hand.tolist(),
    "superposition_at_5": {name: [pair[0][5].item(), pair[1][5].item()] for name, pair in responses.items()},
    "mean_current": {
        name: {"mean": mean.tolist(), "half_width": half_width.tolist()}
        for name, (mean, half_width) in simulated.items()
    },
    "p": p.tolist(),
    "half_life": half_life.tolist(),
    "conv": {"bias": bias, "background": background, "order_gap": order_gap, "x_max": x.max().item()},
    "tau_found": synapse.tau.item(),
    "taus_found": per_channel.tau.tolist(),
    "shared_tau": {"tau": shared.tau.item(), "loss": shared_losses[-1]},
    "states": states,
}
write_json(
    Path(results_dir) / "chapter_02.json", numbers | {"seed": seed, "trains": trains, "provenance": where}
)

# %% [markdown]
# ## Exercises
# 1. At which probability $p$ is the mean current of the synapse filter equal to $\tau$? Derive it, then check.
# 2. At $p = 0.5$, which $\tau$ gives a low-pass the same mean as a synapse filter with $\tau = 10$? Is it then the same
#    filter? Look at what is left after 20 silent steps.
# 3. Let the filter of section 6 learn with a learning rate of 0.5. Where does $\tau$ go, and why does it not come back?
#
# <details><summary>Solution 1</summary>
#
# ```python
# torch.manual_seed(seed)
# filter_1 = SynapseFilter(tau=10.0)
# for _ in range(300):
#     current_1 = filter_1(torch.bernoulli(torch.full((4000,), 0.5)))
# print(f"mean at p = 0.5: {current_1.mean():.2f}")
# ```
# $p/(1-p) = 1$ gives $p = 1/2$, whatever $\tau$ is. A low-pass comes to $\tau$ only at $p = 1$.
# </details>
#
# <details><summary>Solution 2</summary>
#
# ```python
# torch.manual_seed(seed)
# train_2 = torch.bernoulli(torch.full((400, 4000), 0.5))
# train_2[-20:] = 0  # silence at the end
# for name, current_2 in (("synapse filter", synapse_current(train_2, 10)), ("low-pass", low_pass(train_2, 20))):
#     print(f"{name:14}  mean before the silence {current_2[-21].mean():.2f}, after it {current_2[-1].mean():.2f}")
# ```
# $\tau p/(1-p)$ at $\tau = 10$ is 10, and $20\,p$ is 10, too. The means agree, but the low-pass forgets half as fast: a
# synapse filter slows down only while spikes come in.
# </details>
#
# <details><summary>Solution 3</summary>
#
# ```python
# torch.manual_seed(seed)
# spikes_3 = torch.bernoulli(torch.full((100, 16), 0.2))
# target_3 = SynapseFilter(tau=hidden_tau).forward_sequence(spikes_3)
# filter_3 = SynapseFilter(tau=2.0, learnable=True)
# _, taus_3 = learn_tau(filter_3, torch.optim.SGD(filter_3.parameters(), lr=0.5), spikes_3, target_3, steps=60)
# print("tau in the first steps:", taus_3[:6].round(2).tolist())
# print(f"tau in the end: {filter_3.tau.item():.4f}, gradient in w {filter_3.w.grad.item():.1e}")
# ```
# $\tau$ runs up, overshoots the valley, and the step back throws it far beyond the start, close to 1. There a
# step in $w$ moves $\tau$ by next to nothing, and the gradient in $w$ is as small: it crawls up, and is thrown back again.
# The sigmoid keeps $\tau$ legal; it does not keep it useful.
# </details>
#
# ## What was learned
# - A stateful synapse keeps a current. It adds 1 for each spike and loses the part $1/\tau$ in each *silent* step.
# - That makes it bilinear, not a low-pass: superposition fails, and the mean $\tau p/(1-p)$ grows without bound.
# - Fed with anything but spikes, its factor leaves the range that the equation was made for. Behind neurons it is safe.
# - $1/\tau = \operatorname{sigmoid}(w)$ lets gradient descent find a time constant, one for all or one for each channel.
# - Neurons, loops and synapses all keep state; `reset_net` clears all of it.
#
# <!-- navigation, written by tools/frame_notebooks.py -->
# Previous: [01 Spiking neurons and a recurrent connection](01_spiking_neurons.ipynb) · Next: [03 Reading Fashion-MNIST column by column](03_reading_column_by_column.ipynb)
# <!-- end of navigation -->
