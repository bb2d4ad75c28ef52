/** A spike train that the reader draws, and the currents that synapses make of it. */

import { Chart } from "./chart.js";
import { COLORS } from "./colors.js";
import { box, make, slider, toggle } from "./controls.js";

/**
 * @typedef {import("./scan.js").CellStep} CellStep
 * @typedef {"synapse filter" | "low-pass" | "double-exponential"} Name
 * @typedef {{tau: number, rise: number, parameters: Record<Name, number[]>}} Stop
 * @typedef {{spikes: number[], tau: number, filters: Record<Name, {cell: CellStep, states: number}>, stops: Stop[]}}
 *   SynapseData  `stops` holds what the slider for tau may be set to, with the parameters of the cells.
 */

/** @type {Name[]} */
const ALWAYS = ["synapse filter", "low-pass"];
const OF_SYNAPSES = {
  "synapse filter": COLORS.current,
  "low-pass": COLORS.threshold,
  "double-exponential": COLORS.membrane,
};

/**
 * @param {SynapseData} data
 * @returns {import("./view.js").View}
 */
export function synapse({ spikes, tau, filters, stops }) {
  const decay = slider("time constant τ (steps)", { values: stops.map((stop) => stop.tau), value: tau });
  const isDouble = box("double-exponential synapse", false);
  const time = spikes.map((_, t) => t);
  const steps = time.map((t) => toggle(`${t}`, `spike in step ${t}`, spikes[t] === 1));
  const group = make(
    "div",
    { className: "snn-toggles", ariaLabel: "spikes" },
    "spikes",
    ...steps.map((step) => step.element),
  );
  group.setAttribute("role", "group");
  /** @type {number[]} */
  let train = [];
  /** @type {Partial<Record<Name, number[]>>} */
  let currents = {};

  const stop = () => /** @type {Stop} */ (stops.find((one) => one.tau === decay.value));
  const names = () => /** @type {Name[]} */ (isDouble.value ? [...ALWAYS, "double-exponential"] : ALWAYS);

  /** @param {Name} name */
  function current(name) {
    const { cell, states } = filters[name];
    const parameters = stop().parameters[name].map((one) => [one]);
    const v = Array.from({ length: states }, () => new Float64Array(1));
    const y = new Float64Array(1);
    return train.map((spike) => {
      cell(1, [spike], v, parameters, y);
      return y[0];
    });
  }

  const chart = new Chart("spike train, and the currents of the synapses in each time step", () => {
    const x = [-0.5, time.length - 0.5];
    const shown = names().map((name) => ({ name, y: currents[name] ?? [], color: OF_SYNAPSES[name] }));
    return [
      {
        height: 48,
        x,
        y: [0, 1.2],
        title: "Press or drag here to change the spikes",
        yLabel: "spike s",
        yTicks: [0, 1],
        marks: [
          { kind: "dots", x: time, y: time.map(() => 0), color: COLORS.threshold, size: 2 },
          { kind: "stems", x: time, y: train, color: COLORS.spike },
        ],
      },
      {
        height: 200,
        x,
        y: [0, 1.08 * Math.max(1, ...shown.flatMap(({ y }) => y))],
        yLabel: "synaptic current I",
        xLabel: "time step t",
        marks: shown.flatMap(({ name, y, color }) => [
          {
            kind: "line",
            ...{ x: time, y, color, dashed: name === "low-pass" },
            label: name.replace("exponential", "exp."),
          },
          { kind: "dots", x: time, y, color, size: 3 },
        ]),
      },
    ];
  });
  drawOn(chart, steps);

  return {
    controls: [[decay.element, isDouble.element], [group]],
    figures: [chart.canvas],
    numbers: () => ({ tau: decay.value, s: train, ...currents }),
    update() {
      train = steps.map((step) => Number(step.value));
      currents = Object.fromEntries(names().map((name) => [name, current(name)]));
      chart.draw();
      const count = train.reduce((a, b) => a + b, 0);
      const largest = names().map((name) => `${name} ${Math.max(...(currents[name] ?? [])).toFixed(2)}`);
      const rises = ` The double-exponential synapse decays with τ and rises with a time constant of ${stop().rise} steps.`;
      return (
        `${count} ${count === 1 ? "spike" : "spikes"} in ${train.length} steps, τ = ${decay.value} steps. ` +
        `Largest current: ${largest.join(", ")}.${isDouble.value ? rises : ""}`
      );
    },
  };
}

/**
 * Let a pointer draw in the first panel: a press turns the spike of a step on or off, and those it is dragged over alike.
 * @param {Chart} chart
 * @param {import("./controls.js").Control<boolean>[]} steps
 */
function drawOn(chart, steps) {
  const { canvas } = chart;
  /** @type {boolean[]} */
  let before = [];
  let [isOn, last] = [false, -1];
  /** @param {PointerEvent} event */
  const step = (event) => Math.max(0, Math.min(steps.length - 1, Math.round(chart.at(event).x)));
  const tell = () => steps[0].input.dispatchEvent(new Event("change", { bubbles: true }));

  canvas.style.touchAction = "pan-y pinch-zoom";
  canvas.addEventListener("pointerdown", (event) => {
    const { panel, x } = chart.at(event);
    if (panel > 0 || event.button > 0 || x < -0.5 || x > steps.length - 0.5) return;
    canvas.setPointerCapture(event.pointerId);
    before = steps.map(({ value }) => value);
    last = step(event);
    isOn = !steps[last].value;
    steps[last].value = isOn;
    tell();
  });
  canvas.addEventListener("pointermove", (event) => {
    canvas.style.cursor = last >= 0 || chart.at(event).panel === 0 ? "pointer" : "";
    if (last < 0) return;
    const to = step(event);
    for (let t = Math.min(last, to); t <= Math.max(last, to); t++) steps[t].value = isOn;
    last = to;
    tell();
  });
  for (const type of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(type, () => {
      // If it is cancelled, the page is scrolled instead.
      if (type === "pointercancel" && last >= 0) for (const [t, value] of before.entries()) steps[t].value = value;
      last = -1;
      tell();
    });
  }
}
