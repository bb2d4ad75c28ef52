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
# # 06 Inside the fused kernels
#
# <!-- links, written by tools/frame_notebooks.py -->
# Open in [Binder](https://mybinder.org/v2/gh/snn-core/recurrent-snn-tutorials/main?labpath=notebooks%2F06_inside_the_fused_kernels.ipynb) · [Colab](https://colab.research.google.com/github/snn-core/recurrent-snn-tutorials/blob/main/notebooks/06_inside_the_fused_kernels.ipynb) · [nbviewer](https://nbviewer.org/github/snn-core/recurrent-snn-tutorials/blob/main/notebooks/06_inside_the_fused_kernels.ipynb)
# <!-- end of links -->
#
# **Goal.** See why a loop over time is slow, write its backward pass by hand, and read the kernels that take its place.
#
# **You will be able to**
# - count what a loop over T steps costs: ops, nodes of autograd, bytes kept for backward,
# - derive back-propagation through time for an integrate-and-fire neuron, and write it in a few lines,
# - read one walk in numba and in CUDA, side by side, and say what a thread owns,
# - say where a faster kernel helps, where it does not, and which backend runs your layer.
#
# <!-- time, written by tools/frame_notebooks.py -->
# **Time.** 11 seconds to run on 2 cores (AMD EPYC).
# <!-- end of time -->
#
# The networks of this collection are small, and their loops are long. In such a network the arithmetic is cheap. What
# takes the time is everything around it, and you will take that away piece by piece, without changing a result. You
# should know the neuron of [chapter 01](01_spiking_neurons.ipynb) and the surrogate gradient of
# [chapter 04](04_three_networks.ipynb); no CUDA is needed, and no graphics card.

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
N = 32  # samples
H = 32  # neurons of a sample
lengths = [28, 112, 784]  # time steps T: a picture by columns, four of them, a picture by pixels
repeats = 15  # rounds of each timing
training_steps = 60  # steps of which the median is taken
seed = 0
results_dir = "../results"

# %% [markdown]
# ## 1 Setup

# %%
import json
import time
from inspect import getsource
from pathlib import Path

import numba
import numpy as np
import torch
from IPython.display import Code
from numba import njit

from sequential_fmnist.files import write_json
from sequential_fmnist.memory import keep_freed_memory
from sequential_fmnist.provenance import provenance
from snn_core.backend import BACKENDS, check_backend, cuda, fused_neuron, reference, walks
from snn_core.backend.constants import read_neuron
from snn_core.functional import reset
from snn_core.layer import LinearRecurrentContainer
from snn_core.neuron import IFNode, MultiStepIFNode
from snn_core.surrogate import ATan, heaviside
from snn_tutorial.listing import cuda_source, matched_lines
from snn_tutorial.measure import autograd_nodes, interleaved, make_layer, medians, saved_bytes, torch_ops
from snn_tutorial.plot.kernels import bars, credit, event_driven, owners, shares, speed
from snn_tutorial.plot.show import show

# %%
keep_freed_memory()  # as training does, so that no time goes into asking the system for memory again
torch.set_num_threads(
    1
)  # threads wait for each other, longest where other processes run: that is not the topic
where = provenance()
print(f"snn_core {where['snn_core']}, torch {where['torch']}, numba {numba.__version__}")
print(f"{where['processor']}, {where['cores']} cores, {where['torch_threads']} threads of torch")

# %% [markdown]
# ## 2 The loop: T steps are many small calls
# An integrate-and-fire neuron ([chapter 01](01_spiking_neurons.ipynb)) does three things in each step: charge, fire, reset.
#
# $$h[t] = v[t-1] + x[t], \qquad s[t] = \Theta(h[t] - v_{threshold})$$
#
# $$v[t] = \begin{cases} (1 - s[t])\,h[t] + s[t]\,v_{reset} & \text{hard reset} \\
# h[t] - s[t]\,v_{threshold} & \text{soft reset} \end{cases}$$
#
# A layer walks through time with a loop in Python. This is the definition that all faster ways must equal:

# %%
Code(getsource(reference.neuron_sequence), language="python")

# %% [markdown]
# Each step calls a handful of ops of torch, and for each of them autograd adds a node to a graph. Backward visits the
# nodes one by one. Count them by walking that graph from the output, along `grad_fn` and `next_functions`:

# %%
Code(getsource(autograd_nodes), language="python")

# %%
torch.manual_seed(seed)
x_seq = (0.3 * torch.rand(28, N, H)).requires_grad_()
s_seq = make_layer("neurons", H, "torch")(x_seq)
print(f"{tuple(s_seq.shape)} spikes, {s_seq.mean().item():.1%} of them 1")
for name, count in autograd_nodes(s_seq).most_common():
    print(f"{count:4} x {name}")

# %% [markdown]
# Each step leaves about five nodes: one charges, one subtracts the threshold, one fires, two reset. Now count three
# things for the loop and for the fused op, which the rest of this chapter takes apart: calls of ops, forward and
# backward; nodes; and bytes that autograd keeps for each neuron and step.

# %%
counts = {backend: [] for backend in ("torch", "numba")}
for T in lengths:
    torch.manual_seed(seed)
    x_seq = (0.3 * torch.rand(T, N, H)).requires_grad_()
    for backend, found in counts.items():
        ops = torch_ops(make_layer("neurons", H, backend), x_seq).total()
        nodes = autograd_nodes(make_layer("neurons", H, backend)(x_seq)).total()
        kept = saved_bytes(make_layer("neurons", H, backend), x_seq) / x_seq.numel()
        found.append({"T": T, "ops": ops, "nodes": nodes, "bytes_kept": kept})
        print(f"T = {T:3}, {backend}: {ops:6,} ops, {nodes:5,} nodes, {kept:.0f} bytes kept")

# %% [markdown]
# The loop's counts grow with T; those of the fused op do not. A call costs some microseconds, however little it
# computes, and each number here is a 32-bit float: the loop keeps **two** numbers, $h[t] - v_{threshold}$ for the
# surrogate function and $1 - s[t]$ for the reset. One is enough, as the next section shows.
#
# ## 3 The backward walk, by hand
# Write both resets as one, with two constants:
#
# $$v[t] = (1 - k\,s[t])\,h[t] + j\,s[t]$$
#
# with $k = 1$ and $j = v_{reset}$ for the hard reset, $k = 0$ and $j = -v_{threshold}$ for the soft one.
#
# Let $g_s[t] = \partial L / \partial s[t]$ be what arrives from the layer above, and $g_v[t]$ and $g_h[t]$ the total
# derivatives of the loss $L$ with respect to $v[t]$ and $h[t]$. The potential $h[t]$ acts on the loss in two ways: through
# the spike, whose derivative is the surrogate's $g'$, and through what is left after the reset. The spike acts on the
# loss in two ways too: directly, and because it resets. With
# $\partial v[t] / \partial h[t] = 1 - k\,s[t]$ and $\partial v[t] / \partial s[t] = j - k\,h[t]$ the chain rule says
#
# $$g_h[t] = \big(g_s[t] + g_v[t]\,(j - k\,h[t])\big)\; g'(h[t] - v_{threshold}) \;+\; g_v[t]\,(1 - k\,s[t])$$
#
# `detach_reset=True` takes $j - k\,h[t]$ for 0: the gradient no longer passes through the spike that resets. And since
# $h[t] = v[t-1] + x[t]$,
#
# $$g_x[t] = g_v[t-1] = g_h[t]$$
#
# So the walk runs from $T - 1$ down to 0 and carries **one** number for each neuron. All else, $s[t]$, $g'$, and both
# derivatives of the reset, is a function of $h[t]$: **backward needs h and nothing else**.


# %%
class ByHand(torch.autograd.Function):
    """IF neurons, all T steps in one node: x_seq [T, N, *] to spikes; v is 0 before the first step."""

    @staticmethod
    def forward(ctx, x_seq, v_threshold, v_reset, detach_reset, surrogate):
        h, v = torch.empty_like(x_seq), torch.zeros_like(x_seq[0])
        for t in range(len(h)):
            h[t] = v + x_seq[t]
            v = reset(h[t], heaviside(h[t] - v_threshold), v_threshold, v_reset, detach_reset)
        ctx.save_for_backward(h)
        ctx.constants = v_threshold, v_reset, detach_reset, surrogate
        return heaviside(h - v_threshold)

    @staticmethod
    def backward(ctx, g_s):
        (h,), (v_threshold, v_reset, detach_reset, surrogate) = ctx.saved_tensors, ctx.constants
        keep, jump = (0, -v_threshold) if v_reset is None else (1, v_reset)  # k and j
        s, slope = heaviside(h - v_threshold), surrogate.derivative(h - v_threshold)
        dv_dh, dv_ds = 1 - keep * s, (not detach_reset) * (jump - keep * h)
        g_h, g_v = torch.empty_like(h), torch.zeros_like(h[0])
        for t in reversed(range(len(h))):
            g_v = g_h[t] = (g_s[t] + g_v * dv_ds[t]) * slope[t] + g_v * dv_dh[t]
        return g_h, None, None, None, None


# %% [markdown]
# Is it right? A finite difference cannot tell, because spikes jump. So compare with autograd of the loop, in double
# precision, for both resets, detached and not. The loss is a weighted sum of all spikes.

# %%
torch.manual_seed(seed)
x_seq = (0.3 * torch.rand(lengths[0], N, H, dtype=torch.float64)).requires_grad_()
weight = torch.randn_like(x_seq)
differences = {}
for v_reset in (0.0, None):
    for detach in (True, False):
        loop = MultiStepIFNode(
            v_reset=v_reset, detach_reset=detach, surrogate_function=ATan(), backend="torch"
        )
        runs = loop(x_seq), ByHand.apply(x_seq, 1.0, v_reset, detach, ATan())
        theirs, ours = (torch.autograd.grad((s * weight).sum(), x_seq)[0] for s in runs)
        case = f"{'soft' if v_reset is None else 'hard'} reset, {'' if detach else 'not '}detached"
        differences[f"by hand, {case}"] = (theirs - ours).abs().max().item()
        print(f"{case:26} spikes equal: {torch.equal(*runs)}, largest difference of a gradient", end=" ")
        print(f"{differences[f'by hand, {case}']:.1e} of {theirs.abs().max().item():.1f}")

# %% [markdown]
# The differences are rounding. Now look at what the recurrence does. Take one neuron, and as loss its spike in the last
# step, $L = s[T-1]$. Which of the inputs would have changed it?

# %%
torch.manual_seed(seed)
current = 0.5 * torch.rand(20, 1, dtype=torch.float64)
seen = {}
for name, v_reset in (("hard reset", 0.0), ("soft reset", None)):
    gradients = {}
    for label, detach in (("detached", True), ("not detached", False)):
        x = current.clone().requires_grad_()
        s = ByHand.apply(x, 1.0, v_reset, detach, ATan())
        (h,) = s.grad_fn.saved_tensors
        (gradient,) = torch.autograd.grad(s[-1].sum(), x)
        gradients[label] = gradient[:, 0].numpy()
    seen[name] = (h[:, 0].numpy(), s[:, 0].detach().numpy(), gradients)
show(credit(seen), alt="potential of a neuron over time, and the gradient of its last spike for each input")

# %% [markdown]
# *Walk and walk back; vertical lines mark spikes. With a hard, detached reset credit ends at the last spike: there
# $1 - s[t] = 0$, and no input up to it gets any. The soft reset keeps what is above the threshold, so credit passes. Not
# detached, each step multiplies the gradient by $1 - k\,s[t] + (j - k\,h[t])\,g'$: where h is near the threshold, the
# second part is large, and credit fades or turns its sign. [Chapter 04](04_three_networks.ipynb) follows the gradient
# through whole networks.*
#
# ## 4 The same walk in numba
# `ByHand` has one node and keeps half as much, but its loop still calls ops of torch, several in each step. numba
# compiles such a loop to machine code when it is first called. Written out for the networks of this collection
# (hard reset to 0, detached, ATan with $g'(u) = b / (1 + (a u)^2)$), with rows of M neurons that lie side by side:


# %%
@njit(error_model="numpy")
def walk_forward(x_seq, v_threshold, zero, h_seq, s_seq):
    v = np.zeros_like(x_seq[0])
    for t in range(len(x_seq)):
        for m in range(len(v)):
            h = v[m] + x_seq[t, m]
            fired = h >= v_threshold
            h_seq[t, m], s_seq[t, m] = h, fired
            v[m] = zero if fired else h


@njit(error_model="numpy")
def walk_backward(g_s_seq, h_seq, v_threshold, a, b, zero, one, g_x_seq):
    g_v = np.zeros_like(h_seq[0])
    for t in range(len(h_seq) - 1, -1, -1):
        for m in range(len(g_v)):
            u = a * (h_seq[t, m] - v_threshold)
            dv_dh = zero if h_seq[t, m] >= v_threshold else one
            g_v[m] = g_s_seq[t, m] * (b / (one + u * u)) + g_v[m] * dv_dh
            g_x_seq[t, m] = g_v[m]


# %% [markdown]
# The constants come in as arguments in the arrays' precision, even 0 and 1: numba takes a bare `1.0` for a double, and
# widens all 32-bit arithmetic around it. And the inner loop multiplies by 0 or 1 where one would write `if`, so that
# the compiler can do several neurons in one instruction.
#
# Arrays of numpy and tensors share their memory, so a node of autograd is soon made:


# %%
class InNumba(torch.autograd.Function):
    """ByHand with a hard reset to 0 from a threshold of 1, detached, and ATan with alpha 2."""

    @staticmethod
    def forward(ctx, x_seq):
        h, s = torch.empty_like(x_seq), torch.empty_like(x_seq)
        x_rows, h_rows, s_rows = (z.detach().flatten(1).numpy() for z in (x_seq, h, s))
        number = x_rows.dtype.type
        walk_forward(x_rows, number(1), number(0), h_rows, s_rows)
        ctx.save_for_backward(h)
        return s

    @staticmethod
    def backward(ctx, g_s):
        (h,) = ctx.saved_tensors
        g_x = torch.empty_like(h)
        g_rows, h_rows, x_rows = (z.contiguous().flatten(1).numpy() for z in (g_s, h, g_x))
        numbers = map(h_rows.dtype.type, (1, *ATan().kernel_constants(), 0, 1))  # v_threshold, a, b, 0, 1
        walk_backward(g_rows, h_rows, *numbers, x_rows)
        return g_x


# %%
for call in ("first", "second"):
    started = time.perf_counter()
    s_seq = InNumba.apply(x_seq)
    (ours,) = torch.autograd.grad((s_seq * weight).sum(), x_seq)
    print(f"{call} call: {1e3 * (time.perf_counter() - started):8.2f} ms")

# %% [markdown]
# The first call compiled both functions, for 64-bit floats. Another precision compiles anew. Equal again?

# %%
loop = make_layer("neurons", H, "torch")
expected = loop(x_seq)
(theirs,) = torch.autograd.grad((expected * weight).sum(), x_seq)
differences["our numba cell"] = (theirs - ours).abs().max().item()
print(f"spikes equal: {torch.equal(s_seq, expected)}, ", end="")
print(f"largest difference of a gradient {differences['our numba cell']:.1e}")

# %% [markdown]
# ## 5 The real walk, on a processor and on a card
# The walk of `snn_core/backend/walks.py` is yours with three things more: any neuron and surrogate function, blocks of
# neurons shared out among threads (`prange`), and arrays made from addresses, since wrapping a tensor as an array of
# numpy costs as much as a small walk. First one row of neurons in one step, then the walk around it:

# %%
Code("\n\n".join(map(getsource, (walks._forward_row, walks.neuron_forward))), language="python")

# %% [markdown]
# The same for a card, from `kernels.cu`. There is no loop over neurons, because each neuron has a thread:

# %%
Code("\n\n".join(map(cuda_source, ("charge", "fires", "reset", "neuron_forward"))), language="cpp")

# %% [markdown]
# And one step back, the equation of section 3 in both languages:

# %%
Code(getsource(walks._backward_step), language="python")

# %%
Code(cuda_source("step_back"), language="cpp")

# %% [markdown]
# `keep` and `jump` are $k$ and $j$, and `slope_1 + slope_h h` is $j - k\,h$, or 0 where the reset is detached. They are
# computed once, from the neuron's arguments:

# %%
for v_reset, detach in ((0.0, True), (0.0, False), (None, False)):
    neuron = read_neuron(
        IFNode(v_reset=v_reset, detach_reset=detach, surrogate_function=ATan()).step_function()
    )
    _, _, _, keep, jump, slope_1, slope_h, _, _ = neuron.numbers()
    print(f"{v_reset = }, {detach = }: {keep = }, {jump = }, {slope_1 = }, {slope_h = }")

# %% [markdown]
# Line by line. The table is made from the two sources, and fails if one of its lines is no longer there.

# %%
python = "\n".join(
    map(getsource, (walks._forward_row, walks.neuron_forward, walks.neuron_backward, walks._backward_step))
)
cu = "\n".join(
    map(cuda_source, ("charge", "fires", "reset", "neuron_forward", "neuron_backward", "step_back"))
)
matched_lines(
    ("what it does", "walks.py", "kernels.cu"),
    [
        ("what a thread owns", "for block in prange((M + COLUMNS - 1) // COLUMNS):", "blockIdx.x * blockDim.x + threadIdx.x;"),
        ("state, read once", "v = v0[lo:hi].copy()", "Compute v = v0[m], y = y0 ? y0[m] : Compute(0);"),
        ("through time", "for t in range(T):", "for (Index at = m; at < T * M; at += M) {"),
        ("charge", "h[m] = v[m] + x[m]", "if (c.kind == IF) return v + x;"),
        ("fire", "h[m] - c.v_threshold >= c.zero", "h - c.v_threshold >= 0;"),
        ("reset", "(c.one - c.keep * spike) * h[m] + c.jump * spike", "(1 - c.keep * s) * h + c.jump * s;"),
        ("back through time", "for t in range(T - 1, -1, -1):", "for (Index at = m + (T - 1) * M; at >= 0; at -= M) {"),
        ("through the spike", "g_s + g_v * (c.slope_1 + c.slope_h * h)", "g_s + g_v * (c.slope_1 + c.slope_h * h);"),
        ("through the reset", "g_v * (c.one - c.keep * spike)", "g_v * (1 - c.keep * s);"),
    ],
    (python, cu),
)  # fmt: skip

# %%
show(owners(), alt="two grids of time steps by neurons, coloured by the thread that computes each number")

# %% [markdown]
# *What a thread owns. A thread of a processor takes a block of neurons through all steps, a row at a time: neighbours fill
# its vector registers, and the block's state stays in the first-level cache. A thread of a card takes one neuron, whose
# state stays in a register; its 31 neighbours read the neighbouring numbers in the same instruction. No neuron has two
# owners, so nothing has to be locked, and no sum depends on who was first.*
#
# ## 6 The recurrent walk
# With feedback through a linear layer ([chapter 01](01_spiking_neurons.ipynb), `LinearRecurrentContainer`), the input of a
# step needs the spikes of the step before:
#
# $$i[t] = W_x\,x[t] + W_y\,y[t-1] + b, \qquad y[t] = s[t]$$
#
# The product with $W_y$ cannot be taken out of the walk, as that with $W_x$ can. So the walk takes it along. Samples do
# not depend on each other: a thread walks 64 samples, and their spikes are still in its cache when it needs them.

# %%
source = getsource(walks.recurrent_forward)
Code(source[source.index("    for block") :], language="python")

# %% [markdown]
# $W_y$ is read in every step, so it should lie close. On a processor a small one stays in the cache by itself. On a card
# somebody has to put it there. The launcher chooses, by size; here for 256 samples and a card on which a block may ask
# for 227 KiB of shared memory (sm_90):

# %%
for size in (16, 32, 64, 128, 224, 256, 512):
    launch = cuda.recurrent_launch("forward", 256, size, torch.float32, 227 << 10)
    print(f"H = {size:3}, W_y of {4 * size * size / 1024:6.0f} KiB: {launch.kernel}, ", end="")
    print(f"{launch.blocks} blocks of {launch.threads} threads, {launch.shared_bytes / 1024:.0f} KiB shared")

# %% [markdown]
# `warp`: up to 32 neurons are one warp; each thread holds its row of $W_y$ in registers, and the spikes of a step are the
# 32 bits of a ballot. `on_chip`: $W_y$ lies in shared memory, next to the arithmetic units. `tiled`: it does not fit, and
# is read through the second-level cache.
#
# **Backward** is the walk of section 3, with the gradient that comes back through $y[t]$ added to $g_s[t]$:
#
# $$g_s[t] \leftarrow g_s[t] + W_y^T g_i[t+1], \qquad
# \frac{\partial L}{\partial W_y} = \sum_{t=1}^{T-1} g_i[t]\,y[t-1]^T$$
#
# Nobody needs $\partial L / \partial W_y$ before the walk is over. So it is not summed step by step: the sum over steps and
# samples is one product of two tall matrices.

# %%
torch.manual_seed(seed)
g_i, y = torch.randn(112, N, H, dtype=torch.float64), (torch.rand(112, N, H) < 0.1).double()
runs = {
    "a product in each step": lambda: sum(g.T @ s for g, s in zip(g_i[1:], y[:-1], strict=True)),
    "one product": lambda: g_i[1:].flatten(0, 1).T @ y[:-1].flatten(0, 1),
}
one, other = (run() for run in runs.values())
print(f"largest difference {(one - other).abs().max():.1e}")
for name, seconds in medians(interleaved(runs, repeats)).items():
    print(f"{name:22} {1e3 * seconds:.2f} ms")

# %% [markdown]
# **Spikes are 0 or 1**, so $W_y\,y$ is the sum of those columns of $W_y$ whose neuron spiked. A product with $H^2$
# multiplications becomes a few additions of columns:

# %%
torch.manual_seed(seed)
weights, spikes = torch.randn(H, H, dtype=torch.float64), y[0, 0]
columns = weights[:, spikes == 1].sum(1)
print(
    f"{int(spikes.sum())} of {H} columns, largest difference {(weights @ spikes - columns).abs().max():.1e}"
)

# %% [markdown]
# Finding the spikes costs something too, and adding columns leaves the tight tiles of a dense product that live in
# registers. So a small layer multiplies, zeros included, and a large one looks for spikes. The border was found by
# measuring: `walks.EVENT_DRIVEN_FROM`. You can see it from outside. Let all neurons spike in every step, then none:

# %%
torch.manual_seed(seed)
sizes = (32, 64, 96, 112, 128, 160, 192, 224, 256)
times = {bias: [] for bias in (-5.0, 5.0)}
for size in sizes:
    runs, x = {}, torch.zeros(28, N, size)
    for bias in times:
        layer = LinearRecurrentContainer(IFNode(backend="numba"), size, size)
        torch.nn.init.constant_(layer.rc.bias, bias)
        runs[bias] = lambda layer=layer, x=x: layer.forward_sequence(x)
    with torch.no_grad():
        for bias, seconds in medians(interleaved(runs, repeats)).items():
            times[bias].append(seconds)
quiet, busy = times.values()
show(
    event_driven(sizes, quiet, busy, walks.EVENT_DRIVEN_FROM),
    alt="time of the recurrent walk against the number of neurons, for a silent and for a busy layer",
)

# %% [markdown]
# *Left of the border the spikes make no difference: the product is dense. From the border on a silent layer pays only
# for the product with its input, and one that always spikes pays more than a dense product would cost. In the networks
# of this collection spikes are the minority, and the rarer the larger the layer.*
#
# ## 7 Is it really the same?
# Three sequence ops, each against the loop, in double precision: the output, and the gradient of the input and of every
# parameter. Some sums run in another order than in torch, which is why not every difference is 0.

# %%
ops = {
    "neurons": "neuron_sequence",
    "recurrent layer": "recurrent_neuron_sequence",
    "synapse filter": "synapse_filter_sequence",
}
print(f"{'':26} {'output':>8} {'gradients of x and parameters':>32}")
for kind, op in ops.items():
    found = []
    for backend in ("torch", "numba"):
        torch.manual_seed(seed)
        layer = make_layer(kind, H, backend).double()
        x = torch.rand(28, N, H, dtype=torch.float64).requires_grad_()
        out = layer(x)
        loss = (out * torch.randn_like(out)).sum()
        found.append([out, *torch.autograd.grad(loss, [x, *layer.parameters()])])
    apart = [((a - b).abs().max() / a.abs().max()).item() for a, b in zip(*found, strict=True)]
    differences[op] = max(apart)
    print(f"{op:26} {apart[0]:8.1e}", *(f"{value:10.1e}" for value in apart[1:]))

# %% [markdown]
# The numbers are relative to the largest entry. And the same input gives **the same bits**, whatever the number of
# threads, because each sum has an order that no thread can change:

# %%
before, found = torch.get_num_threads(), []
for threads in (1, 2):
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    layer, x = make_layer("recurrent layer", H, "numba"), torch.rand(28, 8 * N, H).requires_grad_()
    found.append(torch.autograd.grad(layer(x).sum(), [x, *layer.parameters()]))
torch.set_num_threads(before)
same_bits = all(torch.equal(a, b) for a, b in zip(*found, strict=True))
print("the same bits with 1 and 2 threads:", same_bits)

# %% [markdown]
# ## 8 How much faster?
# Four ways to walk, forward and backward, 32-bit floats. All ways and lengths take turns, so that whatever else the
# machine does hits each of them, and the median counts.

# %%
step = IFNode(surrogate_function=ATan(), detach_reset=True).step_function()
rest = torch.zeros(N, H)
walkers = {
    "torch loop": lambda x: reference.neuron_sequence(step, x, rest)[0],
    "backward by hand": lambda x: ByHand.apply(x, 1.0, 0.0, True, ATan()),
    "our numba cell": InNumba.apply,
    "fused op": lambda x: fused_neuron("numba", step, x).sequence(x, rest)[0],
}

# %%
torch.manual_seed(seed)
runs = {}
for T in lengths:
    x = (0.3 * torch.rand(T, N, H)).requires_grad_()
    for name, walk in walkers.items():
        runs[name, T] = lambda walk=walk, x=x: torch.autograd.grad(walk(x).sum(), x)
wall, own = time.perf_counter(), time.process_time()
taken = medians(interleaved(runs, repeats))
core_share = (time.process_time() - own) / (time.perf_counter() - wall)
seconds = {name: [taken[name, T] for T in lengths] for name in walkers}

# %%
print(f"this process had {core_share:.0%} of a core: well below 100 %, others disturbed these times")
print(f"{'':18}", *(f"{f'T = {T}':>18}" for T in lengths))
for name, values in seconds.items():
    cells = zip(values, seconds["torch loop"], strict=True)
    print(f"{name:18}", *(f"{1e3 * ours:8.2f} ms ({loop / ours:4.1f}x)" for ours, loop in cells))

# %%
show(
    speed(lengths, seconds), alt="time of forward and backward against the number of steps, four ways to walk"
)

# %% [markdown]
# *Left the whole walk, right the time of each step. A line that falls on the right shares out a fixed cost; a flat
# one pays for every step. Writing backward by hand spares autograd its nodes
# and keeps the calls; numba spares the calls.*
#
# Read such numbers with care. A laptop's differ from those of a server, other processes disturb, and large layers gain
# less: there the arithmetic and the memory count, and the loop does them as well. `make bench` times whole training
# steps with more care, in processes of their own, against other libraries too; the
# [README](../docs/benchmarks.md) shows its table. What it found for this loop and these kernels:

# %%
bench = json.loads(Path("../results/throughput.json").read_text())
print(f"{bench['date']}, {bench['provenance']['processor']}, {bench['provenance']['cores']} cores")
for entry in bench["steps"]:
    size, libraries = entry["config"], entry["libraries"]
    fused, loop = (libraries[name]["ms"]["median"] for name in ("snn_core", "snn_core-torch"))
    print(
        f"{size['model']:16} T = {size['T']:3}, batch {size['batch']:4}, {size['hidden']:3} hidden: "
        f"loop {loop:6.1f} ms, fused {fused:5.1f} ms ({libraries['snn_core-torch']['ratio']:4.1f}x)"
    )

# %% [markdown]
# In a running notebook, controls appear below: choose a layer and its sizes, and it is timed on the machine that runs
# the notebook. On a page without a kernel you see the first choice, drawn as a figure.

# %%
from snn_tutorial.widgets.kernels import speed_explorer

speed_explorer()

# %%
from snn_tutorial.measure import loop_and_fused

chosen = loop_and_fused("neurons", T=28, N=32, hidden=32)
show(
    bars(chosen, "neurons: 28 steps, 32 samples, 32 hidden"),
    alt="time of the torch loop and of the fused kernel",
)

# %% [markdown]
# *Forward and backward through one layer. Try the largest layer: where each step has much to compute, the calls around
# it no longer matter.*
#
# ## 9 And a whole training step?
# A step of training is more than a walk: products with weights, the loss, autograd, the optimizer. If a part $p$ of the
# time is made $f$ times as fast, the whole becomes faster by
#
# $$\frac{1}{(1 - p) + p / f} \;\le\; \frac{1}{1 - p}$$
#
# This is Amdahl's law. What are the parts now? The three networks, with 256 images of the embedded subset:

# %%
from sequential_fmnist.batches import batches
from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.networks import NETWORKS, make_network
from snn_tutorial.measure import step_parts

data = SequentialFashionMNIST(train=True, source="embedded")
images, labels = next(batches(data, torch.arange(256), 256, torch.device("cpu"), workers=0))

# %%
parts, whole = {}, {}
for name in NETWORKS:
    for backend in ("numba", "torch"):
        torch.manual_seed(seed)
        found = step_parts(make_network(name, backend=backend), images, labels, training_steps)
        whole[name, backend] = sum(found.values())
        if backend == "numba":
            parts[name] = found

# %%
show(
    shares(parts),
    alt="a bar for each network: kernels, optimizer and the rest of a training step, in milliseconds",
)

# %% [markdown]
# *Where the time of a training step goes, with fused kernels.*

# %%
for name, found in parts.items():
    loop, fused = whole[name, "torch"], whole[name, "numba"]
    kernels = found["kernels: walks"] + found["kernels: products"]
    print(f"{name:16} loop {1e3 * loop:5.2f} ms, fused {1e3 * fused:5.2f} ms: {loop / fused:4.1f}x; ", end="")
    print(
        f"p = {kernels / fused:.0%} in kernels, so that perfect ones would give {1 / (1 - kernels / fused):.1f}x more"
    )

# %% [markdown]
# Here $p$ is the part that kernels still have, and the last number the bound of Amdahl's law. The rest is Python that
# calls, autograd that keeps its books, the loss and an optimizer: it hardly depends on the size
# of the batch, so larger batches make it matter less, and faster kernels make it matter more.
#
# ## 10 Why is my layer slow all of a sudden?
# Probably it takes the loop. `backend="auto"` is the fastest that can run: `"numba"` for a tensor on the CPU, `"cupy"` on
# an NVIDIA card, and `"torch"`, the loop, wherever no kernel knows what you ask for. A name of your own choice is an
# order, and fails with a reason where it cannot be followed.

# %%
for backend in BACKENDS:
    try:
        print(f"{check_backend(backend):6} is installed")
    except ValueError as reason:
        print(reason)

# %%
neurons = {
    "IFNode()": IFNode(),
    "your own surrogate": IFNode(surrogate_function=torch.sigmoid),
    "a smooth surrogate": IFNode(surrogate_function=ATan(spiking=False)),
    "store_v_seq=True": IFNode(store_v_seq=True),
}
for name, neuron in neurons.items():
    print(f"{name:20} {'the loop' if neuron.fused(x_seq) is None else 'fused'}")

# %% [markdown]
# The same holds inside containers. So a recurrent layer whose neuron has `store_v_seq=True`, to record v, takes the loop:
# it is right, and slower. Turn it off when you have seen enough. A hook on the neuron, or another function than addition in an
# `ElementWiseRecurrentContainer`, takes the loop too.
#
# **Why does the first step take so long?** numba compiles each kernel when it is first needed. If that takes more than a
# second you read `snn_core: compiling a CPU kernel, once; it is kept for the next time`. Then it lies on disk, in a
# folder whose name is a digest of the sources: a changed kernel is compiled anew, an unchanged one never again.

# %%
kept = list((Path(walks.__file__).parent / "__pycache__").glob("kernels-*/**/*.nbc"))
print(f"{len(kept)} compiled kernels, {sum(file.stat().st_size for file in kept) / 2**20:.1f} MiB")
startup = bench["startup"]
print(f"make bench: {startup['compile_seconds']:.0f} s to compile them all, once;", end=" ")
print(f"{startup['warm_start_seconds']:.1f} s to load them in a later process")

# %% [markdown]
# **How many threads?** As many as torch: `torch.set_num_threads(2)` holds for the kernels too. A small layer has one
# block, and gains nothing from a second thread.
#
# **Has the CUDA been on a card?** Not yet. `kernels.cu` has been compiled for sm_70 to sm_90, and the tests run the same
# source on a CPU, through a shim that gives each CUDA thread its turn in an order drawn by chance; there it equals the
# loop. How fast it is, nobody knows. `pytest -m gpu` tells on a card whether it is right; whoever times it must
# call `torch.cuda.synchronize()` before reading the clock, since a launch returns before its kernel has run.
#
# ## 11 Keep the result

# %%
speed_up = {
    name: [a / b for a, b in zip(seconds["torch loop"], t, strict=True)] for name, t in seconds.items()
}
result = {
    "seed": seed,
    "N": N,
    "H": H,
    "lengths": lengths,
    "repeats": repeats,
    "counts": counts,
    "largest_differences": differences,
    "same_bits": same_bits,
    "seconds": seconds,
    "core_share": core_share,
    "times_as_fast_as_the_loop": speed_up,
    "recurrent_walk": {"hidden": sizes, "quiet": quiet, "busy": busy},
    "training_step": parts,
    "training_step_of_the_loop": {name: whole[name, "torch"] for name in NETWORKS},
}
write_json(Path(results_dir) / "chapter_06.json", result | {"provenance": where})

# %% [markdown]
# ## Exercises
# 1. A leaky neuron charges by $h[t] = v[t-1] + (x[t] - v[t-1]) / \tau$ (with $v_{reset} = 0$). What changes in the
#    backward walk? Write it for the hard, detached reset, and compare with `LIFNode`.
# 2. Swap the loops of `walk_forward`: neurons outside, time inside, as a thread of a card sees it. Is it as fast?
# 3. How many bytes for each neuron and step does the loop keep if the reset is not detached? Which numbers are they?
#    How many does the fused op keep?
#
# <details><summary>Solution 1</summary>
#
# Only the last equation: $h[t]$ has the derivatives $1 - 1/\tau$ with respect to $v[t-1]$ and $1/\tau$ with respect to
# $x[t]$, so $g_v[t-1] = (1 - 1/\tau)\,g_h[t]$ and $g_x[t] = g_h[t] / \tau$.
#
# ```python
# from snn_core.neuron import LIFNode
#
# tau, x = 2.0, torch.rand(28, N, H, dtype=torch.float64).mul(2).requires_grad_()
# v, h = torch.zeros_like(x[0]), torch.empty_like(x)
# for t in range(len(x)):
#     h[t] = v + (x[t].detach() - v) / tau
#     v = h[t] * (h[t] < 1)
# slope, g_x, g_v = ATan().derivative(h - 1), torch.empty_like(h), torch.zeros_like(h[0])
# for t in reversed(range(len(x))):
#     g_h = slope[t] + g_v * (h[t] < 1)  # g_s is 1: the loss is the sum of all spikes
#     g_x[t], g_v = g_h / tau, g_h * (1 - 1 / tau)
# node = LIFNode(tau, surrogate_function=ATan(), detach_reset=True, backend="torch")
# (autograd,) = torch.autograd.grad(node.forward_sequence(x).sum(), x)
# print(f"largest difference {(autograd - g_x).abs().max():.1e}")
# ```
# </details>
#
# <details><summary>Solution 2</summary>
#
# ```python
# @njit(error_model="numpy")
# def neuron_by_neuron(x_seq, v_threshold, zero, h_seq, s_seq):
#     for m in range(x_seq.shape[1]):
#         v = zero
#         for t in range(len(x_seq)):
#             h = v + x_seq[t, m]
#             fired = h >= v_threshold
#             h_seq[t, m], s_seq[t, m] = h, fired
#             v = zero if fired else h
#
#
# x = np.random.default_rng(0).random((112, 4096), dtype=np.float32)
# outputs = {f: (np.empty_like(x), np.empty_like(x)) for f in (walk_forward, neuron_by_neuron)}
# runs = {f.__name__: lambda f=f, out=out: f(x, np.float32(1), np.float32(0), *out) for f, out in outputs.items()}
# print(medians(interleaved(runs, repeats)))
# print("equal:", all(map(np.array_equal, *outputs.values())))
# ```
# Equal, and slower: the next step of one neuron lies a whole row away, so each number comes from another cache line, and
# no two numbers fit into one vector instruction. On a card the 32 threads of a warp read a row together, and the same
# order is the right one.
# </details>
#
# <details><summary>Solution 3</summary>
#
# ```python
# x = torch.rand(28, N, H).requires_grad_()
# for backend in ("torch", "numba"):
#     node = MultiStepIFNode(surrogate_function=ATan(), detach_reset=False, backend=backend)
#     print(backend, saved_bytes(node, x) / x.numel(), "bytes")
# ```
# Three numbers: $h[t] - v_{threshold}$, $1 - s[t]$, and $h[t]$, which is the derivative of the hard reset with respect to
# the spike. The fused op keeps $h[t]$, as before.
# </details>
#
# ## What was learned
# - A loop over time costs calls and nodes in each step; in a small network they take nearly all of its time.
# - Back-propagation through time for a spiking neuron is one recurrence, and needs only the charged potential h.
# - A fused kernel is that recurrence with the state in a register or a cache. It gives the loop's numbers, within rounding,
#   and the same bits on any number of threads.
# - A recurrent layer takes its product along on the walk; the gradient of its weights is one product afterwards.
# - What is fast depends on the size: measure on your machine, interleaved, and look at the whole step.
#
# <!-- navigation, written by tools/frame_notebooks.py -->
# Previous: [05 Training curves: three ways to remember](05_training_curves.ipynb) · Next: [07 What does memory buy?](07_what_does_memory_buy.ipynb)
# <!-- end of navigation -->
