/** One neuron that gets a single input, with its own spike fed back or not. */

import { Chart } from "./chart.js";
import { COLORS } from "./colors.js";
import { box, menu, slider } from "./controls.js";

/**
 * @typedef {import("./scan.js").CellStep} CellStep
 * @typedef {{steps: number, resets: string[], cells: CellStep[][], charge: CellStep}} NeuronData
 *   `cells` for each reset without and with feedback. Their only parameter is the threshold. `charge` gives the potential
 *   before the reset.
 */

/**
 * @param {NeuronData} data
 * @returns {import("./view.js").View}
 */
export function neuron({ steps, resets, cells, charge }) {
  const first = slider("input x[0]", { min: 0, max: 3, step: 0.25, value: 1.5 });
  const threshold = slider("threshold v_threshold", { min: 0.5, max: 2, step: 0.25, value: 1 });
  const reset = menu("reset", resets);
  const isFedBack = box("feed the spike back", true);
  const time = Array.from({ length: steps }, (_, t) => t);
  /** @type {{i: number[], h: number[], v: number[], s: number[]}} */
  let trace = { i: [], h: [], v: [], s: [] };

  function run() {
    const cell = cells[reset.value][Number(isFedBack.value)];
    const [potential, before, y, h] = [0, 1, 2, 3].map(() => new Float64Array(1));
    const v = [potential, before]; // with the spike of the step before, which comes back
    trace = { i: [], h: [], v: [], s: [] };
    for (const t of time) {
      const x = t === 0 ? first.value : 0;
      trace.i.push(isFedBack.value ? x + y[0] : x);
      charge(1, [trace.i[t]], [potential.slice()], [[threshold.value]], h);
      trace.h.push(h[0]);
      cell(1, [x], v, [[threshold.value]], y);
      trace.v.push(potential[0]);
      trace.s.push(y[0]);
    }
  }

  const chart = new Chart("input, membrane potential and spikes of one neuron in each time step", () => {
    const { i, h, v, s } = trace;
    const x = [-0.5, steps - 0.5];
    const limits = [0, ...h, ...v, threshold.value];
    const given = time.map((t) => (t === 0 ? first.value : 0));
    const fired = time.filter((t) => s[t] > 0);
    return [
      {
        height: 76,
        x,
        y: [0, 4],
        yLabel: "input",
        marks: [
          { kind: "bars", x: time, y: i, color: COLORS.loop, label: "y[t−1], fed back" },
          { kind: "bars", x: time, y: given, color: COLORS.input, label: "x[t]" },
        ],
      },
      {
        height: 150,
        x,
        y: [Math.min(...limits) - 0.15, Math.max(...limits) + 0.15],
        yLabel: "membrane",
        marks: [
          {
            kind: "line",
            x,
            y: [threshold.value, threshold.value],
            color: COLORS.threshold,
            dashed: true,
            label: "threshold",
          },
          ...time.slice(1).map((t) => ({
            kind: /** @type {const} */ ("line"),
            ...{ x: [t - 1, t], y: [v[t - 1], h[t]], color: COLORS.membrane, width: 1.5 },
          })),
          ...fired.map((t) => ({
            kind: /** @type {const} */ ("line"),
            ...{ x: [t, t], y: [h[t], v[t]], color: COLORS.spike, dashed: true },
          })),
          { kind: "dots", x: time, y: h, color: COLORS.membrane, hollow: true, size: 4.5, label: "○ h[t], charged" },
          { kind: "dots", x: time, y: v, color: COLORS.membrane, label: "● v[t], reset" },
        ],
      },
      {
        height: 40,
        x,
        y: [0, 1.2],
        yLabel: "spike",
        xLabel: "time step t",
        yTicks: [0, 1],
        marks: [{ kind: "stems", x: time, y: s, color: COLORS.spike, label: "s[t]" }],
      },
    ];
  });

  return {
    controls: [
      [first.element, threshold.element],
      [reset.element, isFedBack.element],
    ],
    figures: [chart.canvas],
    numbers: () => trace,
    update() {
      run();
      chart.draw();
      const spikes = trace.s.reduce((a, b) => a + b, 0);
      return `${spikes} ${spikes === 1 ? "spike" : "spikes"} in ${steps} steps`;
    },
  };
}
