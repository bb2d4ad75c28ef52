/** One neuron that gets a single input, with its own spike fed back or not. */

import { Chart } from "./chart.js";
import { COLORS } from "./colors.js";
import { box, menu, slider } from "./controls.js";
import { counted, range, sum } from "./numbers.js";
import { through } from "./scan.js";

/**
 * @typedef {{steps: number, resets: string[], cells: import("./scan.js").Cell[][]}} NeuronData
 *   `cells` for each reset without and with feedback. Their only parameter is the threshold; their states are the
 *   potential, the input of the neuron, and the potential before the reset.
 */

/** Ends of the axis of potentials: the threshold moves on it, it does not move with the threshold. */
const MEMBRANE = [-1, 4];

/** @type {import("./view.js").Build<NeuronData>} */
export const neuron = ({ steps, resets, cells }) => {
  const first = slider("input x[0]", { min: 0, max: 3, step: 0.05, value: 1.5 });
  const threshold = slider("threshold v_threshold", { min: 0.5, max: 2, step: 0.05, value: 1 });
  const reset = menu("reset", resets);
  const isFedBack = box("feed the spike back", true);
  const time = range(steps);
  let trace = run();

  function run() {
    const cell = cells[reset.value][Number(isFedBack.value)];
    const inputs = time.map((t) => (t === 0 ? first.value : 0));
    return through(cell, inputs, [threshold.value]).map(({ x, v: [v, i, h], y }) => ({ x, i, h, v, s: y }));
  }

  /** @param {"x" | "i" | "h" | "v" | "s"} name */
  const series = (name) => trace.map((step) => step[name]);

  const chart = new Chart("input, membrane potential and spikes of one neuron in each time step", () => {
    const [h, v, s] = [series("h"), series("v"), series("s")];
    const x = [-0.5, steps - 0.5];
    const fired = time.filter((t) => s[t] > 0);
    const level = [threshold.value, threshold.value];
    return [
      {
        ...{ height: 76, x, y: [0, 4], yLabel: "input" },
        marks: [
          { kind: "bars", x: time, y: series("i"), color: COLORS.loop, label: "y[t−1], fed back" },
          { kind: "bars", x: time, y: series("x"), color: COLORS.input, label: "x[t]" },
        ],
      },
      {
        ...{ height: 150, x, y: MEMBRANE, yLabel: "membrane" },
        marks: [
          { kind: "line", x, y: level, color: COLORS.threshold, dashed: true, label: "threshold" },
          {
            kind: "line",
            x: time.slice(1).flatMap((t) => [t - 1, t, t]),
            y: time.slice(1).flatMap((t) => [v[t - 1], h[t], Number.NaN]),
            ...{ color: COLORS.membrane, width: 1.5 },
          },
          {
            kind: "line",
            x: fired.flatMap((t) => [t, t, t]),
            y: fired.flatMap((t) => [h[t], v[t], Number.NaN]),
            ...{ color: COLORS.spike, dashed: true },
          },
          { kind: "dots", x: time, y: h, color: COLORS.membrane, hollow: true, size: 4.5, label: "○ h[t], charged" },
          { kind: "dots", x: time, y: v, color: COLORS.membrane, label: "● v[t], reset" },
        ],
      },
      {
        ...{ height: 40, x, y: [0, 1.2], yLabel: "spike", xLabel: "time step t" },
        marks: [{ kind: "bars", x: time, y: s, width: 0.15, color: COLORS.spike, label: "s[t]" }],
      },
    ];
  });

  return {
    controls: [
      [first, threshold],
      [reset, isFedBack],
    ],
    figures: [chart.canvas],
    numbers: () => ({ i: series("i"), h: series("h"), v: series("v"), s: series("s") }),
    update() {
      trace = run();
      return `${counted(sum(series("s")), "spike")} in ${steps} steps`;
    },
  };
};
