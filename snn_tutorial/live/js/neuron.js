/** One neuron that gets a single input, with its own spike fed back or not. */

import { BLUE, Chart, GREEN, GREY, VERMILION } from "./chart.js";
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
    const [v, y] = [[new Float64Array(1), new Float64Array(1)], new Float64Array(1)];
    trace = { i: [], h: [], v: [], s: [] };
    const h = new Float64Array(1);
    for (const t of time) {
      const x = t === 0 ? first.value : 0;
      trace.i.push(isFedBack.value ? x + y[0] : x);
      charge(1, [trace.i[t]], [v[0].slice()], [[threshold.value]], h);
      trace.h.push(h[0]);
      cell(1, [x], v, [[threshold.value]], y);
      trace.v.push(v[0][0]);
      trace.s.push(y[0]);
    }
  }

  const chart = new Chart("input, membrane potential and spikes of one neuron in each time step", () => {
    /** @type {[number, number]} */
    const x = [-0.5, steps - 0.5];
    const limits = [...trace.h, ...trace.v, threshold.value];
    /** @type {[number, number]} */
    const y = [Math.min(0, ...limits) - 0.1, Math.max(...limits) + 0.1];
    return [
      { height: 70, x, y: [0, 4], yLabel: "input i", marks: [{ kind: "stems", x: time, y: trace.i, color: GREEN }] },
      {
        height: 110,
        x,
        y,
        yLabel: "potential v",
        marks: [
          { kind: "line", x, y: [threshold.value, threshold.value], color: GREY, dashed: true, label: "threshold" },
          {
            kind: "line",
            x: time.flatMap((t) => [t, t]),
            y: time.flatMap((t) => [trace.h[t], trace.v[t]]),
            color: BLUE,
            label: "charged, then reset (dot)",
          },
          { kind: "dots", x: time, y: trace.v, color: BLUE },
        ],
      },
      {
        height: 50,
        x,
        y: [0, 1.2],
        yLabel: "spike s",
        xLabel: "time step t",
        yTicks: [
          [0, "0"],
          [1, "1"],
        ],
        marks: [{ kind: "stems", x: time, y: trace.s, color: VERMILION }],
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
