/** A neuron's step that the reader writes: what is recorded and derived from it, and a trace. */

import { Chart } from "./chart.js";
import { COLORS } from "./colors.js";
import { changed, make, menu, slider } from "./controls.js";
import { counted, range, sum } from "./numbers.js";
import { SLOPES } from "./operations.js";
import { cellOf, lines, record, textOf } from "./record.js";
import { Network } from "./scan.js";

/** @typedef {{steps: number, examples: Record<string, string>}} StepData */

const STATES = [COLORS.membrane, COLORS.current, COLORS.loop];

/** @type {import("./view.js").Build<StepData>} */
export const step = ({ steps, examples }) => {
  const time = range(steps);
  const example = menu("begin with", Object.keys(examples));
  const surrogate = menu("surrogate", Object.keys(SLOPES));
  const drive = slider("input x[t] in the first half", { min: 0, max: 2, step: 0.05, value: 0.3 });
  const written = make("textarea", { spellcheck: false, ariaLabel: "the step of a neuron", rows: 6 });
  const panes = ["forward", "backward"].map((name) => make("pre", { ariaLabel: `the ${name} row`, tabIndex: 0 }));
  const begin = () => {
    written.value = Object.values(examples)[example.value];
  };
  begin();
  example.addEventListener("change", () => {
    begin();
    changed(written);
  });
  let [program, error] = [record(written.value, SLOPES.ATan), ""];
  let trace = run();

  /** Take the neuron through time, and the gradient of its number of spikes back. */
  function run() {
    const stage = { cell: "cell", parameters: [], weights: [] };
    const net = new Network([stage], {}, { cell: cellOf(program) }, 1, steps);
    const x = time.map((t) => (t < steps / 2 ? drive.value : 0));
    const s = net.forward(x.map((one) => [one])).map(([one]) => one);
    net.backward(time.map(() => Float64Array.of(1)));
    const [{ v, g }] = net.layers;
    const states = program.states.map((_, k) => time.map((t) => v[t + 1][k][0]));
    return { x, s, states, gradient: g.map(([one]) => one) };
  }

  /** Return the results of a pass, in the words of functional.derived. */
  const results = () => [
    ["y", ...program.states.map((_, k) => `new v${k}`)].map((name, k) => `${name} = ${textOf(program.outputs[k])}`),
    ["g_x", ...program.states.map((_, k) => `new g_v${k}`)].map(
      (name, k) => `${name} = ${textOf(program.gradients[k])}`,
    ),
  ];

  function show() {
    const [ends, loops] = [results(), ["forward row", "backward row"]];
    for (const [k, statements] of [program.forward, program.backward].entries()) {
      const indented = [...lines(statements), ...ends[k]].map((line) => `  ${line}`);
      panes[k].textContent = `${loops[k]}, for each neuron:\n${indented.join("\n")}`;
    }
  }

  const chart = new Chart("the neuron's states, its spikes, and the gradient of their number", () => {
    const [x, all] = [[-0.5, steps - 0.5], trace.states.flat().filter(Number.isFinite)];
    const values = [...trace.gradient.filter(Number.isFinite), 0];
    const ends = (/** @type {number[]} */ of, /** @type {number} */ high) => [
      Math.max(-10, Math.min(0, ...of)),
      Math.min(10, Math.max(high, ...of)),
    ];
    return [
      {
        ...{ height: 120, x, y: ends(all, 1.2), yLabel: "states" },
        marks: [
          { kind: "bars", x: time, y: trace.x, color: COLORS.input, label: "x" },
          ...trace.states.map((y, k) => ({
            .../** @type {const} */ ({ kind: "line", x: time, y }),
            ...{ color: STATES[k % STATES.length], label: program.states[k] },
          })),
        ],
      },
      {
        ...{ height: 36, x, y: [0, 1.2], yLabel: "spike" },
        marks: [{ kind: "bars", x: time, y: trace.s, width: 0.2, color: COLORS.spike, label: "s" }],
      },
      {
        ...{ height: 80, x, y: ends(values, 1), yLabel: "gradient", xLabel: "time step t" },
        marks: [{ kind: "bars", x: time, y: trace.gradient, width: 0.5, label: "of the spikes' sum to x[t]" }],
      },
    ];
  });

  return {
    controls: [[example, surrogate], [drive]],
    figures: [make("div", { className: "snn-panels snn-code" }, written, ...panes), chart.canvas],
    numbers() {
      const [forward, backward] = [program.forward, program.backward].map(lines);
      const [ends, back] = results();
      const indented = (/** @type {string[]} */ of) => of.map((line) => `    ${line}`);
      const derived = ["forward", ...indented([...forward, ...ends]), "backward", ...indented([...backward, ...back])];
      return { ...trace, error, derived: derived.join("\n") };
    },
    update() {
      try {
        program = record(written.value, Object.values(SLOPES)[surrogate.value]);
        error = "";
      } catch (found) {
        error = /** @type {Error} */ (found).message;
      }
      written.ariaInvalid = `${error !== ""}`;
      trace = run();
      show();
      if (error) return `Not yet: ${error}. Below is the last step that was understood.`;
      return `${program.forward.length} statements forward, ${program.backward.length} backward; ${counted(
        sum(trace.s),
        "spike",
      )} in ${steps} steps.`;
    },
  };
};
