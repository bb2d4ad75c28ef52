/** A time constant that is fitted to a wanted current: by hand, then by the gradient. */

import { Chart } from "./chart.js";
import { COLORS } from "./colors.js";
import { slider } from "./controls.js";
import { bytes, range, sum } from "./numbers.js";
import { player } from "./player.js";
import { Layer } from "./scan.js";

/**
 * @typedef {{spikes: string, count: number, hidden: number, rate: number, cell: import("./scan.js").Cell}} FitData
 *   `spikes` [T, count] are packed. The only parameter of the cell is w, tau = 1 + exp(-w).
 */

const STEPS = 60;
const TAUS = [1.1, 1.2, 1.5, 2, 2.5, ...range(38).map((k) => k + 3)];
const tauOf = (/** @type {number} */ w) => 1 + Math.exp(-w);
const wOf = (/** @type {number} */ tau) => -Math.log(tau - 1);

/** @type {import("./view.js").Build<FitData>} */
export const fit = ({ spikes, count, hidden, rate, cell }) => {
  const all = bytes(spikes);
  const s = range(all.length / count).map((t) => all.subarray(t * count, (t + 1) * count));
  const tau = slider("τ by hand (steps)", { values: TAUS, value: 2 });
  const learning = slider("learning rate", { values: [0.003, 0.01, 0.03, 0.1, 0.3], value: rate });
  const step = slider("gradient step", { max: STEPS, value: 0 });
  const plays = player(step, 70);
  const layer = new Layer(
    { cell: "filter", parameters: ["w"], weights: [] },
    { w: Float64Array.of(0) },
    { filter: cell },
    count,
    s.length,
    1,
  );
  const time = range(s.length);

  /** Take all spikes through the filter. @param {number} parameter  w */
  function current(parameter) {
    layer.parameters = [Float64Array.of(parameter)];
    return s.map((x, t) => layer.forward(t, x).slice());
  }
  const wanted = current(wOf(hidden));

  /** Return the loss at w and its derivative. @param {number} parameter */
  function slope(parameter) {
    const errors = current(parameter).map((i, t) => i.map((one, k) => one - wanted[t][k]));
    layer.begin();
    for (const t of time.toReversed())
      layer.backward(
        t,
        errors[t].map((one) => (2 * one) / all.length),
      );
    return {
      loss: sum(errors.map((error) => sum(error.map((one) => one * one)))) / all.length,
      by: layer.gradients[0][0],
    };
  }

  const curve = TAUS.map((one) => slope(wOf(one)).loss);
  let path = descent();

  /** Return each step of gradient descent from where the reader has put tau. */
  function descent() {
    let w = wOf(tau.value);
    return range(STEPS + 1).map(() => {
      const { loss, by } = slope(w);
      const here = { tau: tauOf(w), loss };
      w -= learning.value * by;
      return here;
    });
  }

  const chart = new Chart("the current of the filter and the wanted one; the loss against the time constant", () => {
    const here = path[step.value];
    const mine = current(wOf(here.tau)).map(([one]) => one);
    const goal = wanted.map(([one]) => one);
    const passed = path.slice(0, step.value + 1);
    return [
      {
        ...{ height: 110, x: [-0.5, s.length - 0.5], y: [0, 1.1 * Math.max(...goal)] },
        ...{ yLabel: "current I", xLabel: "time step t" },
        marks: [
          { kind: "line", x: time, y: goal, color: COLORS.threshold, dashed: true, label: "target" },
          { kind: "line", x: time, y: mine, color: COLORS.current, label: "yours" },
        ],
      },
      {
        ...{ height: 130, x: [1, TAUS[TAUS.length - 1]], y: [0, 1.05 * Math.max(...curve)] },
        ...{ yLabel: "loss", xLabel: "time constant τ (steps)" },
        marks: [
          { kind: "line", x: TAUS, y: curve, color: COLORS.current, width: 1.5 },
          {
            kind: "dots",
            x: passed.map((one) => one.tau),
            y: passed.map((one) => one.loss),
            color: COLORS.loop,
            size: 2.5,
          },
          { kind: "dots", x: [here.tau], y: [here.loss], color: COLORS.spike, size: 6, label: "● here" },
        ],
      },
    ];
  });

  tau.addEventListener("input", () => {
    plays.stop();
    step.value = 0;
  });
  return {
    controls: [
      [tau, learning],
      [...plays.buttons, step],
    ],
    figures: [chart.canvas],
    numbers: () => ({ path, curve, at: path[step.value] }),
    update() {
      if (!plays.isPlaying() || step.value === 0) path = descent();
      const here = path[step.value];
      const by = step.value ? `After ${step.value} gradient steps` : "By hand";
      if (plays.isPlaying()) return "The gradient rolls.";
      return `${by}: τ = ${here.tau.toPrecision(3)}, loss ${here.loss.toPrecision(2)}.`;
    },
  };
};
