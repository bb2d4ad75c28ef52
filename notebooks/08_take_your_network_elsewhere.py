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
# # 08 Take your network elsewhere
#
# <!-- links, written by tools/frame_notebooks.py -->
# Open in [Binder](https://mybinder.org/v2/gh/snn-core/recurrent-snn-tutorials/main?labpath=notebooks%2F08_take_your_network_elsewhere.ipynb) · [Colab](https://colab.research.google.com/github/snn-core/recurrent-snn-tutorials/blob/main/notebooks/08_take_your_network_elsewhere.ipynb) · [nbviewer](https://nbviewer.org/github/snn-core/recurrent-snn-tutorials/blob/main/notebooks/08_take_your_network_elsewhere.ipynb)
# <!-- end of links -->
#
# **Goal.** Write a trained network to a file that other software and neuromorphic hardware can read, run it there, and
# count what changed.
#
# **You will be able to**
# - say what a NIR graph is, and how a step of time is hidden in its constants,
# - export a network with feedback, look at the graph, and run it in twenty lines of NumPy and in snnTorch,
# - name what the format cannot say, and measure what that costs,
# - check an exchange instead of trusting it: compare spikes, not only the accuracy,
# - bring weights from SpikingJelly, and leave for torch.export and ONNX.
#
# <!-- time, written by tools/frame_notebooks.py -->
# **Time.** 7 seconds to run on 2 cores (AMD EPYC).
# <!-- end of time -->
#
# Nothing is trained here: the networks are those that come with the package, from
# [chapter 05](05_training_curves.ipynb).

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
    # %pip install --quiet '..[experiment]' 'nir>=1.0.8,<2' 'nirtorch>=2.6,<3' 'snntorch>=1.0,<1.1'

# %% tags=["parameters"]
source = "auto"  # "auto": the full data if they can be had; "embedded": 1,000 test images in the package
images_to_run = 1000
evidence_dir = "../results"  # where the table of section 8 is
results_dir = "../results"

# %% [markdown]
# ## 1 Setup

# %%
import contextlib
import io
import json
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

import h5py
import nir
import numpy as np
import torch
from IPython.display import Markdown
from snntorch.import_nir import import_from_nir

# %%
from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.files import write_json
from sequential_fmnist.networks import NETWORKS, columns_as_sequence, make_network
from sequential_fmnist.pretrained import load
from sequential_fmnist.provenance import provenance
from snn_core.functional import reset_net
from snn_core.layer import MultiStepContainer, SynapseFilter
from snn_exchange import (
    ExchangeError,
    from_nir,
    from_spikingjelly,
    read_nir,
    to_nir,
    to_program,
    to_spikingjelly,
    write_nir,
)
from snn_tutorial.plot.exchange import graph_step, leak_and_filter, nir_graph, peers_table
from snn_tutorial.plot.show import show
from snn_tutorial.widgets.exchange import graph_walker

# %%
where = provenance()
print(f"snn_core {where['snn_core']}, torch {where['torch']}", end=", ")
print(f"nir {version('nir')}, snntorch {version('snntorch')}")

# %%
test = SequentialFashionMNIST(train=False, source=source)
images = test.images[:images_to_run].float() / 255
labels = test.labels[:images_to_run]
x_seq = columns_as_sequence(images)  # [T, N, 28]
nets = {name: load(name)[0] for name in NETWORKS}
_ = torch.set_grad_enabled(False)  # nothing is trained here

# %% [markdown]
# ## 2 A graph instead of a program
# A saved network is usually code plus weights, and the code belongs to one library. **NIR**, the Neuromorphic
# Intermediate Representation, stores no code: a graph whose nodes are equations with numbers, and whose edges say what
# flows where. Whoever knows the equations can run it.

# %%
graph = to_nir(nets["feedback"])
for name, node in graph.nodes.items():
    print(f"{name:14} {type(node).__name__}")
print(*(f"{a} -> {b}" for a, b in graph.edges), sep="\n")

# %%
show(
    nir_graph(graph),
    alt="a chain of nodes: Input, Affine fc1, IF neurons sn1, Affine fc2, Output; from sn1 a way back through the Linear "
    "node sn1_recurrent to sn1, one step later",
)

# %% [markdown]
# *The feedback network as a graph. Where two arrows end in one node, their values are added. The way back takes one time
# step. The graph ends with what the read-out receives; the mean of it over the steps, which names the class, is left to
# the reader of the graph.*
#
# ### Where is the time step?
# NIR's equations are those of continuous time. For its IF neuron,
# $$\dot v = R\,i(t), \qquad z = 1 \text{ where } v > v_{threshold}, \qquad v \leftarrow v_{reset} \text{ where } z = 1.$$
# A step of length $dt$ (Euler's method) makes it ours:
# $$h[t] = v[t-1] + dt\,R\;i[t] \qquad\Rightarrow\qquad R = 1 / dt .$$
# Common libraries take a tenth of a millisecond for a step, and so does `to_nir`, unless you say `dt=...`. The number has
# no meaning by itself: what counts is that writer and reader use the same.

# %%
neurons = graph.nodes["sn1"]
for what in ("r", "v_threshold", "v_reset"):
    print(f"{what:12} {np.unique(getattr(neurons, what))}")

# %% [markdown]
# The threshold is not quite 1. NIR's neurons fire **above** the threshold, ours **at** it too. So the next smaller
# number of float32 is written: to be above it is to be at least 1.

# %%
print(np.nextafter(neurons.v_threshold[0], np.float32(2)) == 1)

# %% [markdown]
# ## 3 A recurrent container as a cycle
# The container of [chapter 02](02_stateful_synapses.ipynb) and [chapter 04](04_three_networks.ipynb) has one weight for
# both of its inputs. It is two, side by side:
# $$i[t] = [x[t];\,y[t-1]]\,W^T + b = x[t]\,W_x^T + b + y[t-1]\,W_y^T, \qquad W = [W_x\;\,W_y].$$
# $W_y$ becomes the Linear node of the cycle. $W_x$ and $b$ need no node of their own: what comes before is linear, too,
# and two linear layers in a row are one,
# $$(u\,W_1^T + b_1)\,W_x^T + b = u\,(W_x W_1)^T + (b_1 W_x^T + b).$$

# %%
first, container = nets["feedback"].fc1, nets["feedback"].sn1[0]
weight_x, weight_y = container.rc.weight.double().split(container.in_features, dim=1)
merged = weight_x @ first.weight.double()
print("W_y is the cycle's weight:", np.array_equal(graph.nodes["sn1_recurrent"].weight, weight_y.float()))
print("W_x is in the first layer:", np.allclose(graph.nodes["fc1"].weight, merged, rtol=1e-6))

# %% [markdown]
# The graph holds fewer numbers than the network, and says the same:

# %%
weights = [graph.nodes[name] for name in ("fc1", "sn1_recurrent", "fc2")]
stored = sum(node.weight.size + getattr(node, "bias", np.empty(0)).size for node in weights)
parameters = sum(p.numel() for p in nets["feedback"].parameters())
print(f"{parameters:,} parameters, {stored:,} numbers in the graph")

# %% [markdown]
# ## 4 A file, and what is in it
# NIR's files are HDF5: named arrays in named groups, and nothing that could be executed.

# %%
file = Path(tempfile.mkdtemp()) / "feedback.nir"
write_nir(file, graph)
with h5py.File(file) as content:
    node = content["node/nodes/sn1"]
    print(f"{file.stat().st_size:,} bytes; the neurons:", {name: str(node[name].dtype) for name in node})

# %% [markdown]
# `from_nir` builds a network of our modules from it, which runs and can be trained further. The product $W_x W_1$ was
# rounded to float32, which could move a potential that lies on the threshold. So `to_nir` left both factors as a note
# beside the layer. Other libraries pass over it; `from_nir` multiplies them, and if they still give the layer's weights,
# takes them back. What comes out is the network that went in, to the last bit.

# %%
back = from_nir(read_nir(file))
print(back)
same = map(torch.equal, back.parameters(), nets["feedback"].parameters())
print("equal weights:", all(same))

# %% [markdown]
# Is it the same network? The accuracy is a poor test: it hides all that averages out. Compare the **spikes**, one by one.

# %%
spikes = nets["feedback"].hidden_spikes(images)  # [T, N, hidden]
reset_net(nets["feedback"])
round_trip = int((back[:2](x_seq) != spikes).sum())
reset_net(back)
print(f"{round_trip} of {spikes.numel():,} chances to fire differ; there are {int(spikes.sum()):,} spikes")

# %%
outputs = {"before": nets["feedback"](images), "after": back(x_seq).mean(0)}
accuracy = {name: (output.argmax(1) == labels).double().mean().item() for name, output in outputs.items()}
print(accuracy)

# %% [markdown]
# ## 5 Elsewhere, I: twenty lines of NumPy
# A graph is worth something only if somebody else can run it. So write that somebody: it knows NIR's equations and has
# never heard of our package. In each step it goes through the nodes in their order. A node that gets something from a
# node behind it gets what that one gave in the step before, and that is the whole secret of the cycle.


# %%
def step(node, i, v, dt):
    """Return what a node gives for the input i, and its new state, from the state v."""
    if isinstance(node, nir.Affine):
        return i @ node.weight.T + node.bias, v
    if isinstance(node, nir.Linear):
        return i @ node.weight.T, v
    if isinstance(node, nir.IF):
        v = v + dt * node.r * i
        z = v > node.v_threshold
        return z.astype(np.float32), np.where(z, node.v_reset, v)
    if isinstance(node, nir.LI):
        v = v + dt / node.tau * (node.v_leak - v + node.r * i)
        return v, v
    return i, v  # Input and Output


# %%
def simulate(graph, x_seq, dt=1e-4):
    """Return what every node of a graph gives, by its name, [T, N, *]."""
    given = {name: np.zeros(1, np.float32) for name in graph.nodes}
    state = dict.fromkeys(graph.nodes, np.float32(0))
    record = {name: [] for name in graph.nodes}
    for x in x_seq:
        for name, node in graph.nodes.items():
            arriving = [given[source] for source, target in graph.edges if target == name] or [x]
            given[name], state[name] = step(node, sum(arriving), state[name], dt)
            record[name].append(given[name])
    return {name: np.stack(values) for name, values in record.items()}


# %% [markdown]
# One comparison with our network, over all images and steps:

# %%
record = simulate(graph, x_seq.numpy())
in_numpy = int((record["sn1"] != spikes.numpy()).sum())
accuracy["numpy"] = float((record["output"].mean(0).argmax(1) == labels.numpy()).mean())
print(f"{in_numpy} of {spikes.numel():,} differ from snn_core; accuracy {accuracy['numpy']:.1%}")

# %% [markdown]
# Since every node has been recorded, you can walk through the graph. In a running notebook, controls appear below; on a
# page without a kernel you see one step, drawn as a figure.

# %%
pictures = images[:, 0].numpy()
few = {name: values[:, :100] for name, values in record.items()}
graph_walker(graph, few, pictures[:100])

# %%
one = {name: values[:, 0] for name, values in record.items()}
show(graph_step(graph, one, 9, pictures[0]), alt="the graph in step 9, with the number of neurons that fire")

# %% [markdown]
# *Step 9 of the first test image. Below each node: the mean of the pixels that arrive, the range of what a layer gives,
# and how many neurons fire.*
#
# ## 6 Elsewhere, II: snnTorch
# Now a library that we did not write. Its importer takes a graph and returns a module, which is called step by step.

# %%
try:
    with contextlib.redirect_stdout(io.StringIO()):  # it prints as it goes
        import_from_nir(graph)
except (AssertionError, ValueError) as error:
    print(f"{type(error).__name__}: {error}")

# %% [markdown]
# It refuses, and that is lucky. The importer of snnTorch 1.0 makes an IF neuron a leaky one that keeps 90 % of its
# potential, and stops only because it expects $R = 1$. Also, it knows cycles of two nodes, and sends their input through
# the recurrent weights. Both are faults of one release, and the graph is right. There is a way round: say the same in
# words that this reader understands. A LIF neuron with an endless time constant does not leak, and a cycle of three nodes
# is left alone.

# %%
dialect = to_nir(nets["feedback"], dialect="snntorch")
print({name: type(node).__name__ for name, node in dialect.nodes.items()})
print(f"kept in a step: {np.unique(1 - np.float32(1e-4) / dialect.nodes['sn1'].tau)}")

# %%
with contextlib.redirect_stdout(io.StringIO()):
    elsewhere = import_from_nir(dialect)
found, given, state = [], [], None
dict(elsewhere.named_modules())["sn1"].register_forward_hook(
    lambda module, inputs, output: found.append(output)
)
for x in x_seq:
    output, state = elsewhere(x, state)
    given.append(output)

# %%
in_snntorch = int((torch.stack(found) != spikes).sum())
accuracy["snntorch"] = (torch.stack(given).mean(0).argmax(1) == labels).double().mean().item()
print(f"{in_snntorch} of {spikes.numel():,} differ; accuracy {accuracy['snntorch']:.1%}")

# %% [markdown]
# ## 7 What the format cannot say
# The stateful synapse of [chapter 02](02_stateful_synapses.ipynb) does not decay in a step that brings a spike:
# $$I[t] = I[t-1] - (1 - s[t])\,\tfrac{1}{\tau}\,I[t-1] + s[t].$$
# Here spike and current are multiplied. None of NIR's nodes does that. So `to_nir` refuses:

# %%
try:
    to_nir(nets["stateful-synapse"])
except ExchangeError as error:
    print(error)

# %% [markdown]
# You may ask for the nearest thing, the leaky integrator $I[t] = I[t-1] - \tfrac{1}{\tau} I[t-1] + s[t]$. Then you get a
# warning that names the difference, and a note in the file, by which `from_nir` finds the exact module again. Other
# readers see the integrator.

# %%
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    graph_leaky = to_nir(nets["stateful-synapse"], allow=["synapse-filter"])
print(caught[0].category.__name__, "-", caught[0].message)

# %%
s_seq = torch.tensor([0, 1, 0, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]).float().view(-1, 1, 1)
leaky, i = [], 0.0
for s in s_seq.flatten().tolist():
    i = i - i / 3 + s
    leaky.append(i)
currents = {
    "SynapseFilter": MultiStepContainer(SynapseFilter(tau=3.0))(s_seq).flatten().numpy(),
    "leaky integrator": np.array(leaky),
}

# %%
show(
    leak_and_filter(s_seq.flatten().numpy(), currents),
    alt="a train of spikes, and below it two currents: the synapse filter rises by one with every spike of a burst, the "
    "leaky integrator by less and less",
)

# %% [markdown]
# *One train of spikes, tau = 3 steps. Apart, both decay alike. In a burst the filter adds up spike by spike, while the
# integrator saturates.*
#
# What does it cost? Here is the trained network, exact, and as another reader would run it:

# %%
synapses = {
    "synapse filter": nets["stateful-synapse"](images),
    "leaky integrator": torch.from_numpy(simulate(graph_leaky, x_seq.numpy())["output"].mean(0)),
    "read with our note": from_nir(graph_leaky)(x_seq).mean(0),
}
for name, output in synapses.items():
    accuracy[name] = (output.argmax(1) == labels).double().mean().item()
    print(f"{name:18} test accuracy {accuracy[name]:.1%}")

# %% [markdown]
# The network was trained with one kind of synapse and now has another. If you want to go to hardware with it, train it
# with what the hardware has.
#
# The **soft reset** is the other thing that NIR does not say: its neurons are set to a value, and what was above the
# threshold is lost. `to_nir` treats it in the same way, see exercise 1.
#
# ## 8 Which libraries agree?
# The tests of this collection export the three networks, load them in three other libraries, run 1,000 test images, and
# compare the spikes of the hidden layer. The other way round, too. This table is what they wrote:

# %%
evidence = json.loads((Path(evidence_dir) / "exchange.json").read_text())
Markdown(peers_table(evidence["rows"]))

# %% [markdown]
# Read it before you trust an exchange. Where a library refuses, you know at least. Where spikes differ, no message said
# so, and the accuracy fell without a word. Each time the reason was found in the equations: when a neuron resets, to
# what, and whether a spike leaves in the step in which it is decided. It counts as found when our network with the same
# change gives the same spikes: that is the last number in the rows of Spyx.
#
# ## 9 Coming from SpikingJelly
# SpikingJelly 2.0 has the same three networks, and its modules have the equations of ours. One call takes their weights,
# from a state dict or a file, and one gives them back. The names of the weights tell which network it is.

# %%
theirs = to_spikingjelly(make_network("feedback"))
print(", ".join(theirs))
ours = from_spikingjelly(theirs)
print(type(ours).__name__, torch.equal(ours.fc1.weight, theirs["fc.0.weight"]))

# %% [markdown]
# ## 10 Programs: torch.export and ONNX
# If the reader is no simulator of spiking networks but an ordinary runtime, give it an ordinary program: all steps
# unrolled, every operation one of torch's. It needs neither snn_core nor an idea of neurons.

# %%
program = to_program(nets["plain"])
operations = [node for node in program.graph.nodes if node.op == "call_function"]
given, expected = program.module()(images), nets["plain"](images)
reset_net(nets["plain"])
equal = bool((given.argmax(1) == expected.argmax(1)).all())
print(f"{len(operations)} operations; every image gets the same answer: {equal}")

# %% [markdown]
# `export(net, "net.nir")` writes a file; the suffixes `.pt2` and `.onnx` give the other formats. So does a command line,
# which takes a training run's checkpoint, or `plain`, `stateful-synapse` or `feedback` for the shipped weights:
# ```
# python -m snn_exchange runs/feedback/latest.pt feedback.nir
# ```
#
# ## 11 Is a file from somebody else safe?
# `read_nir` executes nothing, follows no link to other files, and unpacks no more than you allow. What is broken is one
# error that names the file and the node:

# %%
broken = to_nir(nets["plain"])
broken.nodes["fc2"].weight = broken.nodes["fc2"].weight[:, :30]
write_nir(file, broken)
try:
    from_nir(read_nir(file))
except ExchangeError as error:
    print(error)

# %% [markdown]
# ## 12 Keep the result

# %%
differing = {"round_trip": round_trip, "numpy": in_numpy, "snntorch": in_snntorch}
result = {"data": test.source, "images": len(images), "chances": spikes.numel(), "spikes": int(spikes.sum())}
write_json(
    Path(results_dir) / "chapter_08.json",
    result | {"differing": differing, "accuracy": accuracy, "program_equal": equal, "provenance": where},
)

# %% [markdown]
# ## Exercises
# 1. What does the soft reset cost? Give the hidden neurons of the plain network the soft reset, export, and run the
#    graph in NumPy.
# 2. Write the threshold 1 instead of the number below it. How many spikes change? And why could it be more in a network
#    whose weights are rounded to multiples of 1/16?
# 3. Read the graph with the wrong time step.
#
# <details><summary>Solution 1</summary>
#
# ```python
# nets["plain"].sn1.v_reset = None
# soft = nets["plain"].hidden_spikes(images)
# with warnings.catch_warnings():
#     warnings.simplefilter("ignore")
#     hard = simulate(to_nir(nets["plain"], allow=["soft-reset"]), x_seq.numpy())["sn1"]
# print(f"{int(soft.sum()):,} spikes with the soft reset, {int(hard.sum()):,} with the graph's")
# ```
# What is above the threshold is lost at each spike, so that fewer follow.
# </details>
#
# <details><summary>Solution 2</summary>
#
# ```python
# graph.nodes["sn1"].v_threshold[:] = 1
# print(int((simulate(graph, x_seq.numpy())["sn1"] != spikes.numpy()).sum()), "spikes differ")
# ```
# A potential that is exactly 1 is rare among sums of arbitrary numbers. With coarse weights and spikes as inputs many
# sums are equal, and some of them meet the threshold: on hardware with weights of few bits it matters.
# </details>
#
# <details><summary>Solution 3</summary>
#
# ```python
# try:
#     from_nir(to_nir(nets["feedback"], dt=1e-3), dt=1e-4)
# except ExchangeError as error:
#     print(error)
# ```
# The resistance does not fit the step, and the message asks for it.
# </details>
#
# ## What was learned
# - A NIR graph says what a network computes, without code. The time step is hidden in its constants, and writer and
#   reader must agree on it.
# - A linear recurrent container is a cycle: one matrix goes into the layer before, the other closes the loop.
# - `>` or `>=`, hard or soft reset, now or one step later: such details decide whether two libraries run the same
#   network. Only a comparison of spikes shows it.
# - What a format cannot say should be refused, or named.
#
# <!-- navigation, written by tools/frame_notebooks.py -->
# Previous: [07 What does memory buy?](07_what_does_memory_buy.ipynb)
# <!-- end of navigation -->
