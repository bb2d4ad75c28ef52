/** A spike train that the reader draws, and the currents that synapses make of it. */

import { Chart } from "./chart.js";
import { COLORS } from "./colors.js";
import { box, changed, make, slider } from "./controls.js";
import { counted, range, sum } from "./numbers.js";
import { through } from "./scan.js";

/**
 * @typedef {"synapse filter" | "low-pass" | "double-exponential"} Name
 * @typedef {{tau: number, rise: number, parameters: Record<Name, number[]>}} Stop
 * @typedef {{spikes: number[], tau: number, filters: Record<Name, import("./scan.js").Cell>, stops: Stop[]}} SynapseData
 *   `stops` holds what the slider for tau may be set to, with the parameters of the cells.
 */

const COLOR_OF = {
  "synapse filter": COLORS.current,
  "low-pass": COLORS.threshold,
  "double-exponential": COLORS.membrane,
};

/** @type {import("./view.js").Build<SynapseData>} */
export const synapse = ({ spikes, tau, filters, stops }) => {
  const decay = slider("time constant τ (steps)", { values: stops.map((stop) => stop.tau), value: tau });
  const isDouble = box("double-exponential synapse", false);
  const time = range(spikes.length);
  const steps = time.map((t) => box(`spike in step ${t}`, spikes[t] === 1));
  for (const [t, step] of steps.entries()) step.children[0].textContent = `${t}`;
  const group = make("div", { className: "snn-toggles", ariaLabel: "spikes", role: "group" }, "spikes");
  group.append(...steps);
  const train = () => steps.map((step) => Number(step.value));
  const stop = () => /** @type {Stop} */ (stops.find((one) => one.tau === decay.value));
  const names = () => /** @type {Name[]} */ (Object.keys(filters).slice(0, isDouble.value ? 3 : 2));

  /** @param {Name} name */
  const current = (name) => through(filters[name], train(), stop().parameters[name]).map(({ y }) => y);

  const chart = new Chart("spike train, and the currents of the synapses in each time step", () => {
    const x = [-0.5, time.length - 0.5];
    const shown = names().map((name) => ({ name, y: current(name), color: COLOR_OF[name] }));
    return [
      {
        ...{ height: 48, x, y: [0, 1.2], yLabel: "spike s", title: "Press here to change the spikes" },
        marks: [
          { kind: "dots", x: time, y: time.map(() => 0), color: COLORS.threshold, size: 2 },
          { kind: "bars", x: time, y: train(), width: 0.15, color: COLORS.spike },
        ],
      },
      {
        ...{ height: 200, x, y: [0, 1.08 * Math.max(1, ...shown.flatMap(({ y }) => y))] },
        ...{ yLabel: "synaptic current I", xLabel: "time step t" },
        marks: shown.flatMap(({ name, y, color }) => [
          {
            ...{ kind: "line", x: time, y, color, dashed: name === "low-pass" },
            label: name.replace("exponential", "exp."),
          },
          { kind: "dots", x: time, y, color, size: 3 },
        ]),
      },
    ];
  });
  chart.canvas.addEventListener("click", ({ offsetX, offsetY }) => {
    const [{ across, bottom }] = chart.places;
    const step = steps[Math.round((offsetX - across(0)) / (across(1) - across(0)))];
    if (!step || offsetY > bottom + 10) return;
    step.value = !step.value;
    changed(step.input);
  });

  return {
    controls: [[decay, isDouble], [group]],
    figures: [chart.canvas],
    numbers: () => ({
      ...{ tau: decay.value, s: train() },
      ...Object.fromEntries(names().map((name) => [name, current(name)])),
    }),
    update() {
      const largest = names().map((name) => `${name} ${Math.max(...current(name)).toFixed(2)}`);
      const rises = ` The double-exponential synapse decays with τ and rises with a time constant of ${stop().rise} steps.`;
      return (
        `${counted(sum(train()), "spike")} in ${time.length} steps, τ = ${decay.value} steps. ` +
        `Largest current: ${largest.join(", ")}.${isDouble.value ? rises : ""}`
      );
    },
  };
};
