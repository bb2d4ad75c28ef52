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
# # 03 Reading Fashion-MNIST column by column
#
# <!-- links, written by tools/frame_notebooks.py -->
# Open in [Binder](https://mybinder.org/v2/gh/snn-core/recurrent-snn-tutorials/main?labpath=notebooks%2F03_reading_column_by_column.ipynb) · [Colab](https://colab.research.google.com/github/snn-core/recurrent-snn-tutorials/blob/main/notebooks/03_reading_column_by_column.ipynb) · [nbviewer](https://nbviewer.org/github/snn-core/recurrent-snn-tutorials/blob/main/notebooks/03_reading_column_by_column.ipynb)
# <!-- end of links -->
#
# **Goal.** See what a network gets to see when a picture arrives column by column, bring it into the layout
# [T, N, features], and measure what a network has to remember to name the picture.
#
# **You will be able to**
# - say what T, N and features are, in your own data too,
# - turn images, or signals `[B, C, T]`, into a sequence without scrambling them,
# - say how much one column tells, how much all of them tell, and how far apart the useful ones lie,
# - tell what a measured limit holds for, and what it does not.
#
# <!-- time, written by tools/frame_notebooks.py -->
# **Time.** 13 seconds to run on 2 cores (AMD EPYC).
# <!-- end of time -->
#
# No network is trained here. The readers of sections 6 and 7 are linear and have a closed form.

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
source = "auto"  # "auto": the full data if they can be had; "embedded": 6,000 real images in the package
seed = 0
results_dir = "../results"

# %% [markdown]
# ## 1 Setup

# %%
import inspect
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from IPython.display import Code
from torch.nn.functional import one_hot

# %%
from sequential_fmnist.data import SequentialFashionMNIST
from sequential_fmnist.files import write_json
from sequential_fmnist.networks import columns_as_sequence
from sequential_fmnist.provenance import provenance
from snn_core.neuron import IFNode, MultiStepIFNode
from snn_tutorial.plot.reading import (
    accuracy_by_column,
    class_rows,
    column_gif,
    column_pairs,
    layout,
    rasters,
    reading_gif,
    reading_step,
)
from snn_tutorial.plot.show import show, show_gif
from snn_tutorial.ridge import LinearReaders
from snn_tutorial.widgets.reading import column_reader

# %%
where = provenance()
print(f"snn_core {where['snn_core']}, torch {where['torch']}, {where['processor']}, {where['cores']} cores")

# %% [markdown]
# ## 2 The pictures
# Fashion-MNIST is 70,000 grey pictures of clothes, 28 by 28 pixels each, in ten classes. The line that each call
# prints says where its bytes come from. With `source="embedded"`, or where nothing else can be had, it is a balanced
# subset in the package, one tenth of the pictures: everything below still runs, with other numbers.

# %%
train = SequentialFashionMNIST(train=True, source=source)
test = SequentialFashionMNIST(train=False, source=source)
print("a subset" if train.is_subset else "the full data")

# %%
images, labels = test.images[:, 0].numpy(), test.labels.numpy()
print("train", tuple(train.images.shape), train.images.dtype, "test", tuple(test.images.shape))
print(f"pixels from {train.images.min()} to {train.images.max()}, mean {train.images.float().mean():.1f}")
print(f"{(train.images == 0).float().mean():.0%} of all pixels are 0, the background")

# %%
counts = {
    name: (int((train.labels == label).sum()), int((test.labels == label).sum()))
    for label, name in enumerate(test.classes)
}
for name, (in_train, in_test) in counts.items():
    print(f"{name:12} {in_train:6,} to train with, {in_test:6,} to test with")

# %% [markdown]
# Every class is as frequent as every other, so guessing is right in one of ten cases. In the bytes 0 is background and
# 255 is full ink; the figures draw ink dark on white.

# %%
show(
    class_rows(images, labels, test.classes, seed=seed),
    alt="ten rows of thirteen pictures each, one row for each class, from T-shirt to ankle boot",
)

# %% [markdown]
# *Test pictures chosen at random, a row for each class. Pullover, coat and shirt share an outline; so do sneaker and
# ankle boot, up to the ankle.*
#
# ## 3 One column in each time step
# The whole picture at once is an easy task. Here a network gets **one column of 28 pixels in each time step**, the left
# one first, and after 28 steps it has to name the class. It cannot look back.

# %%
reading = reading_gif(images[0], test.classes[labels[0]])
show_gif(
    reading,
    alt="an animation: a frame moves over the picture of an ankle boot from left to right, one column in each step; "
    "columns that were not read yet are dim",
)

# %% [markdown]
# *The column in the frame is read at this step. The dim part on grey ground is still to come.*
#
# The network has no picture to move a frame over. All that it gets is this:

# %%
column = column_gif(images[0])
show_gif(
    column,
    alt="an animation: 28 bars for the 28 grey values of this step, and beside them a raster to which each step adds "
    "a column, until the boot is complete",
)

# %% [markdown]
# *Left: the input of this step, 28 grey values. Right: the steps so far, side by side. The right side is ours; a
# network has it only if it remembers.*

# %%
print(
    f"the animations take {len(reading) / 1000:.0f} and {len(column) / 1000:.0f} kB; `make figures` writes them"
)

# %% [markdown]
# In a running notebook, controls appear below: take any test picture, move through the time steps, read by columns or
# by rows. On a page without a kernel you see the first choice, drawn as a figure.

# %%
column_reader(images, labels, test.classes)

# %%
show(
    reading_step(images[0], 9, test.classes[labels[0]]),
    alt="an ankle boot with column 9 in a frame, the 28 grey values of that column as bars, and columns 0 to 9",
)

# %% [markdown]
# *Step 9 of the boot: a flat thing so far. It might still become a sneaker, a sandal or a boot.*
#
# ## 4 What T, N and the features are
# In this collection, as in SpikingJelly, a sequence is a tensor `[T, N, features]`:
#
# | letter | what it counts | here |
# |---|---|---|
# | T | time steps | the 28 columns |
# | N | samples of a batch, which do not see each other | as many pictures as you like |
# | features | numbers that arrive at the same time | the 28 pixels of a column |
#
# Time comes first, so that `x_seq[t]` is what arrives at step t: one matrix `[N, features]`, for all samples at once.

# %%
batch = test.images[:6].float() / 255
x_seq = columns_as_sequence(batch)
T, N, features = x_seq.shape
print(tuple(batch.shape), "becomes", tuple(x_seq.shape))

# %%
show(
    layout(x_seq.numpy(), sample=0, feature=14),
    alt="four cards, one for each of four time steps, with six rows of 28 pixels each; the first sample taken out of all "
    "cards is a boot; pixel 14 of it against time is a curve that jumps up where the boot begins",
)

# %% [markdown]
# *Left: four of the 28 steps, a card `[N, features]` each, sample 0 in a frame. Middle: sample 0 through all steps is
# the picture. Right: one of its pixels through all steps is the current that one input carries.*
#
# Walk through it step by step, and look at pixel 14 of sample 0:

# %%
for t in (0, 9, 10, 11, 12, 27):
    x = x_seq[t]
    print(
        f"t = {t:2}: x is {tuple(x.shape)}, sample 0, pixel 14: {x[0, 14]:.2f}, from byte {images[0, 14, t]}"
    )

# %% [markdown]
# ### Do I have to turn the grey values into spikes first?
# No. Nothing here encodes a picture into random spikes: the grey value **is** the input current of the step. The first
# layer multiplies it by its weights, and the first spiking neurons make spikes of it.
#
# ## 5 "My data is [B, C, T]: do I loop over T again? What is T?"
# T is time in **your** data. If they have a time axis, as audio, a sensor's signal or the columns here, T is its
# length: nothing is repeated. If they have none, as a picture that is shown whole, T is a number that you choose, and
# the same input is presented T times. Do one or the other; presenting each step of a signal T times more is almost
# never meant.
#
# Then only the order of the axes differs. `[B, C, T]` has time last; a multi-step module wants it first. For pictures
# `[N, H, W]` read from left to right, time is W. This is all that happens to them:

# %%
Code(inspect.getsource(columns_as_sequence), language="python")

# %% [markdown]
# `permute(2, 0, 1)` puts axis 2 first, and leaves 0 and 1 in their order:
#
# $$
# x_\text{seq}[t, n, i] = x[n, i, t]
# $$

# %%
x = batch.squeeze(1)  # [N, H, W], as [B, C, T]
right = x.permute(2, 0, 1)  # [T, N, features]
t, n, i = 12, 0, 14
print(f"{right[t, n, i]:.3f} = {x[n, i, t]:.3f}")

# %% [markdown]
# You do not loop either: a multi-step module walks through the first axis itself. Compare it with the loop:

# %%
torch.manual_seed(seed)
current = torch.nn.Linear(features, 32)(right)  # a linear layer has no state, and takes all steps at once
neuron = IFNode()
by_hand = torch.stack([neuron(current[t]) for t in range(T)])
at_once = MultiStepIFNode()(current)
print("the same spikes:", torch.equal(by_hand, at_once), tuple(at_once.shape))

# %% [markdown]
# ### The slip: reshape
# `reshape(28, N, 28)` gives the same shape, no error, and nonsense. It keeps all numbers in their order in memory and
# only counts them off anew, so that step t of sample n is **a row of some picture**, mostly not of picture n.

# %%
wrong = x.reshape(T, N, features)
print("same shape:", wrong.shape == right.shape, "- same numbers:", torch.equal(wrong, right))

# %%
alone = x[:1].reshape(T, 1, features)
panels = {"permute": right[:, 0], f"reshape, N = {N}": wrong[:, 0], "reshape, N = 1": alone[:, 0]}
show(
    rasters({title: values.numpy() for title, values in panels.items()}),
    alt="sample 0 as the network gets it: after permute a boot; after reshape bits of several pictures; after reshape "
    "of a batch of one a boot turned on its side",
)

# %% [markdown]
# *Sample 0 as a network gets it. Left: right. Middle: rows of all six pictures, labelled as one boot. Right: with a
# single picture the slip looks harmless; it reads rows instead of columns, and the error waits for a larger batch.*
#
# A network trained on the middle one runs without complaint; section 6 measures what it could learn. So look at one
# sample before you train, or assert the equation above for one element.

# %%
rows_seen = torch.arange(T) * N * features // features  # rows in memory, over all pictures
print("pictures of which reshape makes sample 0:", sorted({int(row) // 28 for row in rows_seen}))

# %% [markdown]
# ### Columns or rows?
# `SequentialFashionMNIST(order="row")` stores each picture transposed, so that the same network reads from top to
# bottom. What differs is the order in which the numbers arrive, and which of them arrive together.

# %%
by_row = SequentialFashionMNIST(train=False, source=source, order="row", verbose=False)
turned = columns_as_sequence(by_row.images[:1].float() / 255)
same = torch.equal(by_row.images, test.images.transpose(2, 3))
print("row order is the transposed picture:", same)

# %%
shirt = int(np.flatnonzero(labels == test.classes.index("Shirt"))[0])
pair = {"column": test.images[shirt, 0], "row": by_row.images[shirt, 0]}
show(
    rasters({f"{order} order": image.T.numpy() / 255 for order, image in pair.items()}),
    alt="a shirt as a sequence in column order, which looks like the shirt, and in row order, turned on its side",
)

# %% [markdown]
# *The same shirt as a sequence, time to the right. By columns its left sleeve comes first; by rows its collar.*
#
# ## 6 How much does one column tell?
# Before any network learns to remember, ask what there is to remember. The simplest reader that can be fitted is
# linear: it adds up pixels with weights, gives each class a score, and answers with the highest. Fitted by least
# squares with a small penalty (ridge regression), it has a closed form. For training pixels $x$ and one-hot classes $y$
#
# $$
# \Sigma = \frac1n \sum (x - \bar x)(x - \bar x)^\top, \qquad C = \frac1n \sum (x - \bar x)(y - \bar y)^\top,
# $$
#
# $$
# V = (\Sigma + \lambda I)^{-1} C, \qquad \hat y = \bar y + V^\top (x - \bar x).
# $$
#
# First for one column in the middle, written out:

# %%
seq = {"train": columns_as_sequence(train.images.float() / 255)}  # [T, n, 28]
seq["test"] = columns_as_sequence(test.images.float() / 255)
x, y = seq["train"][14], one_hot(train.labels, 10).float()  # [n, 28], [n, 10]
x_mean, y_mean = x.mean(0), y.mean(0)

# %%
penalty = 1e-3  # lambda; exercise 2 asks how much it matters
covariance = (x - x_mean).T @ (x - x_mean) / len(x)  # [28, 28]
cross = (x - x_mean).T @ (y - y_mean) / len(x)  # [28, 10]
V = torch.linalg.solve(covariance + penalty * torch.eye(28), cross)

# %%
scores = y_mean + (seq["test"][14] - x_mean) @ V  # [n, 10]
by_hand = (scores.argmax(1) == test.labels).float().mean().item()
print(f"column 14 alone names {by_hand:.1%} of the test pictures; guessing 10 %")

# %% [markdown]
# Readers of other columns need other parts of the same covariance. So compute it once for all 784 pixels. What a reader
# sees is $P^\top x$: $P$ picks pixels or adds them up, and the equation becomes
#
# $$
# V = P\,(P^\top \Sigma P + \lambda I)^{-1} P^\top C.
# $$
#
# `LinearReaders` does that and nothing else:

# %%
Code(inspect.getsource(LinearReaders.weights), language="python")

# %%
pixels = {split: x_seq.transpose(0, 1).flatten(1) for split, x_seq in seq.items()}  # [n, T * 28]
readers = LinearReaders(pixels["train"], train.labels, penalty)
pick = torch.eye(T * 28).view(T * 28, T, 28)  # pick[:, t] picks the pixels of column t
again = readers.accuracy(readers.weights(pick[:, 14]), pixels["test"], test.labels)
print(f"column 14 alone: {again:.1%}, as above: {abs(again - by_hand) < 0.002}")

# %% [markdown]
# Three kinds of readers, each for t = 0 to 27:
# - **one column alone**: no memory; the reader has forgotten everything before t,
# - **sum of columns 0 to t**: what a counter keeps that adds up what comes and never forgets, but not when it came,
# - **columns 0 to t, each kept apart**: perfect memory.

# %%
see = {
    "columns 0 to t, each kept apart": lambda t: pick[:, : t + 1].flatten(1),
    "sum of columns 0 to t": lambda t: pick[:, : t + 1].sum(1),
    "column t alone": lambda t: pick[:, t],
}
weights = {kind: [readers.weights(P(t)) for t in range(T)] for kind, P in see.items()}

# %% [markdown]
# All are fitted on all training pictures and measured on two sets: the test pictures, which played no part, and 10,000
# training pictures (or all, if there are fewer), which show how much was learned by heart. Where a column has to be
# chosen below, the training pictures choose it.

# %%
part = slice(10_000)
checks = {
    "train": (pixels["train"][part], train.labels[part]),
    "test": (pixels["test"], test.labels),
}
accuracy = {
    split: {kind: [readers.accuracy(V, *check) for V in many] for kind, many in weights.items()}
    for split, check in checks.items()
}

# %%
apart, summed, alone = accuracy["test"].values()
show(
    accuracy_by_column(accuracy["test"], ceiling=apart[-1], subset=train.is_subset),
    alt="test accuracy against the column: one column alone rises to about a half and falls again towards the right edge; "
    "the sum stays near its best; columns kept apart rise all the way",
)

# %% [markdown]
# *Test accuracy of linear readers. A single column tells most inside the picture and little at its edges. The sum hardly
# gains, since it mixes all columns. Kept apart, the columns add much at first, the late ones little.*

# %%
best = int(np.argmax(accuracy["train"]["column t alone"]))
last = T - 1
for kind, t in (("column t alone", best), ("sum of columns 0 to t", last), (next(iter(see)), last)):
    on_train, on_test = accuracy["train"][kind][t], accuracy["test"][kind][t]
    print(f"{kind:32} t = {t:2}   train {on_train:.1%}   test {on_test:.1%}")

# %% [markdown]
# Read these as limits, and say for what they hold:
# - A **linear reader that forgets** each column when the next one comes gets no further than the first line, whichever
#   column it answers from.
# - A linear reader whose answers are merely **added up** over time sees the sum of the columns: the second line. Adding
#   up is a memory, but one without order.
# - The last line is the **ceiling of linear readers** fitted by least squares. Other ways to fit a linear reader may
#   gain a little.
#
# None of the three is a limit for a nonlinear reader, which a network is.
#
# What would the slip of section 5 have cost? The reader of all pixels again, on pictures that were reshaped in batches
# of 100:

# %%
reshaped = {}
for split in ("train", "test"):
    pictures = (train if split == "train" else test).images[part].float() / 255
    batches = pictures.view(-1, 100, 28, 28).reshape(-1, T, 100, 28)  # the slip, in each batch
    reshaped[split] = batches.transpose(1, 2).reshape(-1, T * 28)  # [n, T * 28], with the labels as they were

# %%
reader = LinearReaders(reshaped["train"], train.labels[part], penalty)
V = reader.weights(torch.eye(T * 28))
after_reshape = reader.accuracy(V, reshaped["test"], test.labels)
print(f"all pixels, after reshape in batches of 100: test {after_reshape:.1%}")

# %% [markdown]
# ### Is it the column that tells so little, or the linear reader?
# Give the reader 256 fixed random units $z = \max(0, Rx + b)$ and let it read those: still
# without memory, no longer linear.

# %%
torch.manual_seed(seed)
R, b = torch.randn(28, 256) / 28**0.5, 0.5 * torch.randn(256)
single = {split: torch.relu(x[best] @ R + b) for split, x in seq.items()}  # [n, 256], column `best` only
added = {split: sum(torch.relu(step @ R + b) for step in x) for split, x in seq.items()}

# %%
nonlinear = {}
for name, z in {"the best column": single, "added up over all columns": added}.items():
    reader = LinearReaders(z["train"], train.labels, penalty)
    V = reader.weights(torch.eye(256))
    nonlinear[name] = reader.accuracy(V, z["test"], test.labels)
    print(f"256 random units, {name:26} test {nonlinear[name]:.1%}")

# %% [markdown]
# So both were at fault. One column tells more than a linear reader takes from it, yet less than all columns tell even
# a linear one. And a layer **without any memory**, if its activity is added up over time, gets much further than the sum
# of the pixels: each unit counts how many columns look a certain way. That is what the firing rate at the output does,
# in every network of [chapter 04](04_three_networks.ipynb). Keep it in mind when a network without recurrence does
# well: counting is memory, too, and the membrane counts. What a count does not hold is the **order**.
#
# ## 7 What must be remembered
# A column is worth remembering if it tells something that the present one does not. How alike two columns are is in
# the covariance already: with $\Sigma_{tu}$ the block of columns t and u,
#
# $$
# r_{tu} = \frac{\operatorname{tr} \Sigma_{tu}}{\sqrt{\operatorname{tr} \Sigma_{tt}\; \operatorname{tr} \Sigma_{uu}}}.
# $$

# %%
blocks = readers.covariance.view(T, 28, T, 28)
shared = torch.einsum("tiui->tu", blocks)  # traces, [T, T]
power = shared.diagonal()
correlation = shared / (power[:, None] * power).sqrt()

# %%
for lag in (1, 4, 8, 14):
    print(f"columns {lag:2} apart: mean correlation {correlation.diagonal(lag).mean():.2f}")

# %% [markdown]
# And what two columns tell together is one more reader. Every second column is enough to see it:

# %%
columns = list(range(0, T, 2))
V = {
    pair: readers.weights(pick[:, list(pair)].flatten(1))
    for pair in [*combinations(columns, 2), *((t, t) for t in columns)]
}
tell = {split: {pair: readers.accuracy(V[pair], *check) for pair in V} for split, check in checks.items()}

# %%
together = np.zeros((len(columns), len(columns)))
for (t, u), value in tell["test"].items():
    together[columns.index(t), columns.index(u)] = together[columns.index(u), columns.index(t)] = value
first, second = max(tell["train"], key=tell["train"].get)
show(
    column_pairs(correlation.numpy(), columns, together, (first, second)),
    alt="two maps with column t and column u as axes: the correlation is high near the diagonal; the accuracy of a pair is "
    "low near the diagonal and at the edges, and high where both columns lie inside and several columns apart",
)

# %% [markdown]
# *Left: neighbours are nearly the same, and so are a column and its mirror image, since clothes are symmetric. Right: so
# such a pair tells less than the one in the frame, which is the best on the training pictures. On the diagonal stands
# one column alone.*

# %%
distance = second - first
print(
    f"best pair: columns {first} and {second}, {distance} apart, correlation {correlation[first, second]:.2f}"
)
print(f"together {tell['test'][first, second]:.1%} of the test pictures, alone", end=" ")
print(f"{tell['test'][first, first]:.1%} and {tell['test'][second, second]:.1%}")

# %%
for name, other in (("next tried column", first + 2), ("mirror image", 28 - first)):
    print(f"column {first} and its {name}, {other}:", end=" ")
    print(f"correlation {correlation[first, other]:.2f}, together {tell['test'][first, other]:.1%}")

# %% [markdown]
# To use this pair, a network has to hold what it saw in the first column for as many steps as they lie apart, while
# other columns keep coming, and still know that it came first. That is what memory is for in this task, and a way to
# judge a time constant: a trace that decays to a few per cent on the way does not carry it.
# [Chapter 02](02_stateful_synapses.ipynb) draws how fast a synapse forgets;
# [chapter 05](05_training_curves.ipynb) measures what the networks make of it.
#
# ## 8 Keep the result

# %%
result = {
    "data": train.source,
    "is_subset": train.is_subset,
    "seed": seed,
    "counts": counts,
    "gif_bytes": {"reading": len(reading), "column": len(column)},
    "penalty": penalty,
    "accuracy": accuracy,
    "best_column": best,
    "after_reshape": after_reshape,
    "random_units": nonlinear,
    "best_pair": {"columns": [first, second], "test": tell["test"][first, second]},
    "near_pairs": [tell["test"][t, t + 2] for t in columns[:-1]],
    "mirror": {
        "correlation": correlation[first, 28 - first].item(),
        "test": tell["test"][first, 28 - first],
    },
    "correlation": {str(lag): correlation.diagonal(lag).mean().item() for lag in range(1, T)},
}
write_json(Path(results_dir) / "chapter_03.json", result | {"provenance": where})

# %% [markdown]
# ## Exercises
# 1. Read from top to bottom. Which row tells most, and where does the reader of all rows end?
# 2. How much does the penalty matter? Fit the reader of all pixels with $\lambda$ from 0.0001 to 1.
# 3. You have 5 recordings of 8 channels with 100 samples each, `[B, C, T]`. Bring them through 8 neurons.
#
# <details><summary>Solution 1</summary>
#
# ```python
# rows = pick.view(28, 28, 28, 28).transpose(0, 1).flatten(0, 1)  # pixel (t, i) becomes (i, t)
# row_alone = [readers.accuracy(readers.weights(pick[:, :, i]), *checks["test"]) for i in range(28)]
# print(f"best row {np.argmax(row_alone)}: {max(row_alone):.1%}; all rows: {apart[-1]:.1%}")
# ```
# All rows are all columns: the ceiling is the same. What a network must remember on the way is not.
# </details>
#
# <details><summary>Solution 2</summary>
#
# ```python
# for value in (1e-4, 1e-3, 1e-2, 1e-1, 1.0):
#     readers.penalty = value
#     V = readers.weights(torch.eye(T * 28))
#     on_train, on_test = (readers.accuracy(V, *checks[split]) for split in ("train", "test"))
#     print(f"lambda {value:6}: train {on_train:.1%}, test {on_test:.1%}")
# readers.penalty = penalty
# ```
# A small penalty fits the training pictures better and the test pictures hardly worse; a large one costs both. With
# one tenth of the pictures the gap between the two is larger.
# </details>
#
# <details><summary>Solution 3</summary>
#
# ```python
# recordings = torch.rand(5, 8, 100)  # [B, C, T]
# spikes = MultiStepIFNode()(recordings.permute(2, 0, 1))  # [T, N, features]
# print(tuple(spikes.shape), "and back:", tuple(spikes.permute(1, 2, 0).shape))
# ```
# T is 100, since the data have it. No loop, and no T of your own.
# </details>
#
# ## What was learned
# - T is the time of the data, here the 28 columns; N are samples that do not see each other; features arrive together.
# - `permute` moves axes, `reshape` counts numbers off anew: the same shape, another picture. Look at one sample.
# - One column names about half of the pictures for a linear reader, all columns kept apart many more; what is added up
#   without order lies between, and how far depends on what is added up.
# - Neighbouring columns repeat each other. What adds most lies several columns back, and that is what memory must bridge.
#
# <!-- navigation, written by tools/frame_notebooks.py -->
# Previous: [02 Stateful synapses: a current that outlives the spike](02_stateful_synapses.ipynb) · Next: [04 Three networks, and the gradient that trains them](04_three_networks.ipynb)
# <!-- end of navigation -->
