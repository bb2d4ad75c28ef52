/** The trained networks: a picture enters column by column, and everything that happens inside is seen. */

import { answers, columnsOf, load, run, SIDE } from "./activity.js";
import { bytes } from "./bytes.js";
import { BLUE, Chart, GREY, ORANGE, PURPLE, VERMILION } from "./chart.js";
import { box, button, make, menu, slider } from "./controls.js";
import { Pad, prepared } from "./pad.js";
import { player } from "./player.js";
import { Network } from "./scan.js";

/**
 * @typedef {import("./activity.js").Trained} Trained
 * @typedef {import("./activity.js").Activity} Activity
 * @typedef {{networks: Trained[], cells: Record<string, import("./scan.js").CellStep>, classes: string[],
 *   images: string, labels: number[], network: number, drawsFirst: boolean}} NetworkData
 *   The network that is shown first; `drawsFirst`: there is no picture yet, and each stroke is read at once.
 */

const ORDERS = ["left to right", "right to left", "every 11th column"];
const STEP_MS = [400, 160, 60];

/**
 * @param {NetworkData} data
 * @returns {import("./view.js").View}
 */
export function network(data) {
  const images = bytes(data.images);
  /** @type {import("./activity.js").Loaded[]} */
  const loaded = load(data.networks, data.cells);
  const checked = make("small", { className: "snn-weights" });
  const which = menu(
    "network",
    data.networks.map(({ name }) => name),
    data.network,
  );
  const names = data.labels.map((label, k) => `${k}: ${data.classes[label]}`);
  const image = menu("picture", [...names, "your drawing"]);
  const order = menu("columns", ORDERS);
  const blank = slider("blank columns after it", { min: 0, max: 56, value: 0 });
  const threshold = slider("threshold", { min: 0.5, max: 2, step: 0.05, value: 1 });
  const tau = slider("tau of the synapse", {
    min: 1.1,
    max: 100,
    step: 0.1,
    value: data.networks.find((one) => one.tau)?.tau ?? 2,
    unit: "steps",
  });
  const loop = box("feedback", true);
  const time = slider("columns read", { min: 0, max: SIDE, value: data.drawsFirst ? 0 : SIDE });
  const speed = menu("speed", ["slow", "normal", "fast"], 1);
  const brush = slider("brush", { min: 1, max: 4, step: 0.25, value: data.drawsFirst ? 1.5 : 2, unit: "pixels" });
  const eraser = box("erase", false);

  for (const { input } of [speed, brush, eraser]) input.dataset.withAnother = "";
  const pad = new Pad(
    "the picture",
    () => {
      image.value = data.labels.length;
      image.input.dispatchEvent(new Event("change", { bubbles: true }));
    },
    () => {
      if (data.drawsFirst && !eraser.value) plays.begin(0);
    },
  );
  if (data.drawsFirst) {
    // A picture is read until the first stroke, which begins a drawing.
    requestAnimationFrame(() => plays.begin(0));
    const begin = () => image.value < data.labels.length && pad.set(new Uint8Array(SIDE * SIDE));
    pad.canvas.addEventListener("pointerdown", begin, { capture: true });
    pad.canvas.addEventListener("keydown", ({ key }) => key === " " && begin(), { capture: true });
  }
  let shown = -1;
  const clear = button("clear", () => {
    pad.set(new Uint8Array(SIDE * SIDE));
    pad.changed();
  });

  const steps = () => SIDE + blank.value;
  const plays = player(time, steps, () => STEP_MS[speed.value]);

  /** @type {Activity} */
  let activity = { spikes: [], potentials: [], currents: [], columns: [], outputs: [] };
  const rows = data.classes.map((name) => {
    const meter = make("meter", { max: 1, ariaLabel: name });
    const percent = make("span");
    return {
      meter,
      percent,
      element: make("div", { className: "snn-answer" }, make("span", {}, name), meter, percent),
    };
  });

  /** @param {number} k */
  const hiddenOf = (k) => /** @type {import("./scan.js").Cells} */ (loaded[k].net.layers[loaded[k].trained.hidden]);

  /**
   * Take the picture through a network with what the reader has set.
   * @param {number} k
   */
  function activityOf(k) {
    const { trained, net } = loaded[k];
    const hidden = hiddenOf(k);
    if (hidden.stage.parameters.length) hidden.parameters = [[threshold.value]];
    hidden.isFedBack = loop.value && hidden.stage.feedback !== null;
    if (trained.synapse !== null && trained.tau !== null) {
      const synapse = /** @type {import("./scan.js").Cells} */ (net.layers[trained.synapse]);
      synapse.parameters = tau.value === trained.tau ? synapse.stage.parameters : [[1 / tau.value]];
    }
    const isDrawing = data.drawsFirst && image.value === data.labels.length;
    const pixels = isDrawing ? prepared(pad.pixels) : pad.pixels;
    return run(net, trained, columnsOf(pixels, order.value, blank.value));
  }

  /** Return what all others answer at the end, once there are networks of the reader's own. */
  function othersSaid() {
    if (!loaded.some(({ trained }) => trained.about)) return "";
    const answered = loaded.flatMap(({ trained: { name, scale } }, k) => {
      if (k === which.value) return [];
      const { outputs } = activityOf(k);
      const { means } = answers(outputs, outputs.length, scale);
      return [`${name}: ${data.classes[means.indexOf(Math.max(...means))]}`];
    });
    return ` At the end the others answer ${answered.join(", ")}.`;
  }

  const chart = new Chart("columns, spikes, membrane potentials, currents and outputs of the network over time", () =>
    panelsOf(activity, time.value, loaded[which.value].trained, data.classes),
  );

  // A network that is trained on this page comes after those of the package, and again after each epoch.
  document.addEventListener("snn-trained", (event) => {
    const { trained, cells, isLast } = /** @type {CustomEvent} */ (event).detail;
    const own = { trained, net: new Network(trained.stages({}), cells), isChecked: Promise.resolve(true) };
    const place = loaded.findIndex((one) => one.trained.name === trained.name);
    if (place < 0) which.input.append(make("option", {}, trained.name));
    loaded[place < 0 ? loaded.length : place] = own;
    if (isLast || loaded[which.value] === own) which.input.dispatchEvent(new Event("change", { bubbles: true }));
  });

  return {
    controls: [
      [which.element, image.element],
      [...plays.buttons, time.element, speed.element],
    ],
    figures: [
      make(
        "div",
        { className: "snn-sides" },
        make(
          "div",
          { className: "snn-side" },
          pad.canvas,
          make("div", { className: "snn-answers" }, ...rows.map((row) => row.element)),
          make("div", { className: "snn-row" }, brush.element, eraser.element, clear),
        ),
        make("div", { className: "snn-main" }, chart.canvas),
      ),
      checked,
    ],
    more: [
      [order.element, blank.element, threshold.element],
      [tau.element, loop.element],
    ],
    numbers: () => ({
      ...Object.fromEntries(Object.entries(activity).map(([name, seq]) => [name, seq.map((one) => Array.from(one))])),
      ...answers(activity.outputs, time.value, loaded[which.value].trained.scale),
    }),
    update() {
      const { trained, isChecked } = loaded[which.value];
      if (image.value !== shown && image.value < data.labels.length) {
        pad.set(images.subarray(image.value * SIDE * SIDE, (image.value + 1) * SIDE * SIDE));
      }
      shown = image.value;
      [pad.size, pad.isErasing] = [brush.value, eraser.value];
      const most = `${steps()}`;
      if (time.input.getAttribute("max") !== most) {
        const isWhole = `${time.value}` === time.input.getAttribute("max");
        time.input.setAttribute("max", most);
        if (isWhole) time.value = steps();
      }
      const { stage } = hiddenOf(which.value);
      tau.element.hidden = trained.tau === null;
      threshold.element.hidden = stage.parameters.length === 0;
      loop.element.hidden = stage.feedback === null;
      isChecked.then((is) => {
        const weights = `Its weights are those of the package${is ? ", checked by their SHA-256" : ""}.`;
        if (trained === loaded[which.value].trained) checked.textContent = trained.about ?? weights;
      });
      pad.draw();
      activity = activityOf(which.value);
      chart.draw();
      if (!pad.pixels.some((grey) => grey > 0)) {
        for (const { meter, percent } of rows) [meter.value, percent.textContent] = [0, ""];
        return "Draw a garment on the black square: a shoe, a shirt, a bag.";
      }
      const { shares } = answers(activity.outputs, time.value, trained.scale);
      const best = shares.indexOf(Math.max(...shares));
      for (const [k, { meter, percent, element }] of rows.entries()) {
        meter.value = shares[k];
        percent.textContent = `${Math.round(100 * shares[k])} %`;
        element.classList.toggle("best", k === best && time.value > 0);
      }
      const truth = data.classes[data.labels[image.value]];
      const blanks = blank.value && !trained.about ? " It was trained without blank columns." : "";
      return said(trained.name, time.value, activity.spikes, data.classes[best], truth) + blanks + othersSaid();
    },
  };
}

/**
 * @param {string} name
 * @param {number} steps
 * @param {Float64Array[]} spikes
 * @param {string} answer
 * @param {string | undefined} truth
 */
function said(name, steps, spikes, answer, truth) {
  if (steps === 0) return "No column has been read.";
  const count = spikes.slice(0, steps).reduce((sum, step) => sum + step.reduce((a, b) => a + b, 0), 0);
  const judged = truth ? (truth === answer ? ", which is right" : `; it is: ${truth}`) : "";
  return `After ${steps} columns and ${count} hidden spikes, the ${name} network answers: ${answer}${judged}.`;
}

/**
 * Return steps as rows of a grid, of which only the first `until` columns are filled.
 * @param {Float64Array[]} seq
 * @param {number} until
 * @param {number} [sign]
 */
function grid(seq, until, sign = 1) {
  const rows = seq[0]?.length ?? 0;
  const values = new Float64Array(rows * seq.length);
  for (let t = 0; t < until; t++) for (let j = 0; j < rows; j++) values[j * seq.length + t] = sign * seq[t][j];
  return values;
}

/**
 * @param {Activity} activity
 * @param {number} until
 * @param {Trained} trained
 * @param {string[]} classes
 * @returns {import("./chart.js").Panel[]}
 */
function panelsOf(activity, until, trained, classes) {
  const columns = activity.columns.length;
  /** @type {[number, number]} */
  const x = [0, columns];
  /** @param {Float64Array[]} seq @returns {[number, number]} */
  const y = (seq) => [seq[0]?.length ?? 1, 0];
  const time = Array.from({ length: until }, (_, t) => t + 0.5);
  const high = Math.max(1e-9, ...activity.currents.flatMap((step) => Array.from(step, Math.abs)));
  const sums = activity.outputs.map((_, t) => answers(activity.outputs, t + 1, trained.scale).means);
  const all = sums.flatMap((means) => Array.from(means));
  /** Classes from the largest mean output on. */
  const ranks = until ? Array.from(classes.keys()).sort((j, k) => sums[until - 1][k] - sums[until - 1][j]) : [];
  const spikes = activity.spikes
    .slice(0, until)
    .flatMap((step, t) => Array.from(step.keys(), (j) => [t, j]).filter(([, j]) => step[j]));
  const lowest = Math.min(-1, ...activity.potentials.flatMap((step) => Array.from(step)));
  /** @type {import("./chart.js").Panel[]} */
  const panels = [
    {
      height: 84,
      x,
      y: [SIDE, 0],
      title: "columns as they enter",
      yLabel: "row",
      yTicks: [],
      marks: [{ kind: "grid", values: grid(activity.columns, until), columns, high: 1 }],
    },
    {
      height: 96,
      x,
      y: y(activity.spikes),
      title: "hidden spikes",
      yLabel: "neuron",
      marks: [
        {
          kind: "dots",
          x: spikes.map(([t]) => t + 0.5),
          y: spikes.map(([, j]) => j + 0.5),
          color: VERMILION,
          size: 1.8,
        },
      ],
    },
    {
      height: 110,
      x,
      y: [Math.min(0, ...all), Math.max(1, ...all)],
      yLabel: "mean output",
      marks: ranks
        .map((j, rank) => ({
          kind: /** @type {const} */ ("line"),
          x: time,
          y: time.map((_, t) => sums[t][j]),
          color: [VERMILION, BLUE, PURPLE][rank] ?? GREY,
          label: rank < 3 ? classes[j] : "",
        }))
        .reverse(),
    },
    {
      height: 96,
      x,
      y: y(activity.potentials),
      title: "membranes",
      yLabel: "neuron",
      marks: [
        { kind: "grid", values: grid(activity.potentials, until), columns, high: 1, color: BLUE, label: "to 1" },
        {
          kind: "grid",
          values: grid(activity.potentials, until, -1).map((value) => Math.sqrt(Math.max(0, value))),
          columns,
          high: Math.sqrt(-lowest),
          color: ORANGE,
          label: `to \u2212${(-lowest).toFixed(0)} (as roots)`,
        },
      ],
    },
  ];
  if (activity.currents.length) {
    panels.push({
      height: 96,
      x,
      y: y(activity.currents),
      yLabel: "neuron",
      title: trained.synapse === null ? "what the loop brings back" : "currents of the synapses",
      marks: [
        { kind: "grid", values: grid(activity.currents, until), columns, high, color: PURPLE, label: "> 0" },
        { kind: "grid", values: grid(activity.currents, until, -1), columns, high, color: ORANGE, label: "< 0" },
      ],
    });
  }
  panels[panels.length - 1].xLabel = "time step";
  return panels;
}
