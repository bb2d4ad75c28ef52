"""The step that a reader writes: its statements are those that the library derives, its numbers those of the loop."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from itertools import cycle

import pytest
import torch
from support_live import in_node, live

from snn_core import cells, functional, reference
from snn_core.module import CellModule
from snn_core.surrogate import ATan, Sigmoid, SurrogateFunction
from snn_tutorial.live import literal
from snn_tutorial.live.javascript import PRELUDE, cell_code
from snn_tutorial.live.step import EXAMPLES, written_step

pytestmark = pytest.mark.xdist_group("browser_live")

STEPS = 28
#: Texts, and the names of their states in the order in which they are read.
TEXTS = [
    *((text, "v a" if "a = " in text else "v") for text in EXAMPLES.values()),
    ("tau = 4\nh = v + (x - v) / tau\ns = spike(h - 2 / tau)\nv = where(s > 0.5, 0 * h, h)", "v"),
    (
        "g = sigmoid(x - 1) * tanh(u)\nu = u / (1 + exp(-x)) + x**2 - x**3\ns = spike(-g + .5)\nw = 0.5 * w + s",
        "u w",
    ),
    (
        "h = -(2 - v) + 2.0 * x + 1.5\ns = spike(h - 1e-1)\nv = h / (4 + s * u)\nu = exp(-u) / 2 - detach(u) / 4",
        "v u",
    ),
]


@dataclass(eq=False)
class Written(cells.Cell):
    """What lines of Python say; ``names`` are its states', with spaces, in the order in which they are read first."""

    text: str
    names: str
    surrogate_function: SurrogateFunction

    @property
    def initial(self):
        return tuple(0.0 for _ in self.names.split())

    def step(self, x, state):
        values = {"x": x, "spike": self.surrogate_function, "detach": lambda one: one.detach()}
        values |= {name: getattr(torch, name) for name in ("exp", "tanh", "sigmoid", "where")}
        values |= dict(zip(self.names.split(), state, strict=True))
        builtins.exec(self.text, values)
        return values["s"], tuple(values[name] for name in self.names.split())


def neuron_of(cell: Written) -> CellModule:
    own = {"states": tuple(cell.names.split()), "cell": lambda self, like: cell}
    return type("WrittenNeuron", (CellModule,), own)("auto")


@pytest.fixture(scope="module")
def view(browser, tmp_path_factory):
    with live(browser, written_step("", STEPS), tmp_path_factory.mktemp("step")) as view:
        yield view


@pytest.mark.parametrize(
    ("text", "names", "surrogate"),
    [(*one, s) for one, s in zip(TEXTS, cycle((ATan(), Sigmoid())), strict=False)],
)
def test_statements_and_numbers_are_the_library_s(view, text, names, surrogate):
    cell = Written(text, names, surrogate)
    x_seq = torch.zeros(STEPS, 1, dtype=torch.float64)
    x_seq[: STEPS // 2] = 0.3
    x_seq.requires_grad_()
    s_seq, _ = reference.loop(cell.step, x_seq, [torch.zeros(1).double() for _ in names.split()])
    (gradient,) = torch.autograd.grad(s_seq.sum(), x_seq)
    view.set("surrogate", type(surrogate).__name__)
    view.control("the step of a neuron").fill(text)
    found = view.numbers()
    assert found["error"] == ""
    assert found["derived"] == functional.derived(neuron_of(cell), x_seq[0])
    assert found["s"] == s_seq.flatten().tolist()
    assert found["gradient"] == pytest.approx(gradient.flatten().tolist(), rel=1e-9, abs=1e-12)


REFUSED = {
    "": "one line must set the spike s, before s is read",
    "s = spike(v - 1)": "v is read and never set, though a state must be",
    "h = v +": "a line ends too early",
    "h = (v + x": 'a ")" is missing',
    "h = v x": '"x" is not understood here',
    "h = relu(x)": "there is no relu: known are spike, detach, exp, tanh, sigmoid, where",
    "h = where(x > 0, 1, 0)": "one of the last two arguments of where must depend on x or a state",
    "h = where(x, x, 0)": "the first argument of where is a comparison",
    "h = (x > 0) * x": "a comparison can only be the first argument of where(...)",
    "h = x > 0": "h would be a comparison: put it into where(...)",
    "v += x": '"v += x" is no line such as h = v + x',
    "s = 1": "s must depend on x or a state",
    "x = 1": "x cannot be set",
    "h = x**4": "powers are **2 and **3",
    "h = spike(x, x)": "spike takes 1 argument",
}


def test_what_is_not_understood_is_said_and_the_last_step_stays(view):
    said = "(() => { try { return $record.record(given, (tape, u) => u); } catch ({ message }) { return message; } })()"
    assert in_node("record", said, *REFUSED) == list(REFUSED.values())
    before = view.numbers()
    view.control("the step of a neuron").fill("s = 1")
    assert view.numbers() == before | {"error": REFUSED["s = 1"]}
    assert view.said() == f"Not yet: {REFUSED['s = 1']}. Below is the last step that was understood."


@dataclass(eq=False)
class Functions(cells.Cell):
    @property
    def initial(self):
        return ()

    def step(self, x, state):
        whole = torch.floor(x) + torch.round(x) + torch.remainder(x, -0.7)
        roots = torch.maximum(x, -x).sqrt() + torch.log1p(x.abs()) + (1 + x.abs()) ** 1.5
        return whole + roots + torch.sin(x) * torch.cos(x) + torch.atan(x), ()


def test_functions_on_a_page_are_those_of_torch(browser):
    x = torch.linspace(-3, 3, 25).double()
    page = browser.new_page()
    page.add_script_tag(content=f"{PRELUDE}var cell = {literal(cell_code(Functions()))};")
    step = "x => { const y = new Float64Array(x.length); cell.step(x.length, x, [], [], y); return [...y]; }"
    y = page.evaluate(step, x.tolist())
    page.close()
    assert y == pytest.approx(Functions().step(x, ())[0].tolist(), rel=1e-12)
