/** The trained networks: a picture enters column by column, and everything that happens inside is seen. */

import { answers, columnsOf, load, run, SIDE } from "./activity.js";
import { bytes } from "./bytes.js";
import { Chart } from "./chart.js";
import { COLORS } from "./colors.js";
import { box, button, make, menu, slider } from "./controls.js";
import { Pad, prepared } from "./pad.js";
import { player } from "./player.js";
import { Network } from "./scan.js";

/**
 * @typedef {import("./activity.js").Trained} Trained
 * @typedef {import("./activity.js").Activity} Activity
 * @typedef {{networks: Trained[], cells: Record<string, import("./scan.js").CellStep>, classes: string[],
 *   images: string, labels: number[], network: number, drawsFirst: boolean}} NetworkData
 *   The network that is shown first; `drawsFirst`: the view invites to draw over its picture, and each stroke is read at
 *   once.
 * @typedef {{until: number, neuron: number, threshold: number, trained: Trained, classes: string[]}} Seen
 *   What the chart shows of an activity.
 */

const TAUS = [1.1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 7, 10, 15, 20, 30, 50, 70, 100];
const ORDERS = ["left to right", "right to left", "every 11th column"];

/**
 * @param {NetworkData} data
 * @returns {import("./view.js").View}
 */
export function network({ networks, cells, classes, images, labels, network: first, drawsFirst }) {
  const pixels = bytes(images);
  const loaded = load(networks, cells);
  const which = menu(
    "network",
    networks.map(({ name }) => name),
    first,
  );
  const image = menu("picture", [...labels.map((label, k) => `${k}: ${classes[label]}`), "your drawing"]);
  const order = menu("columns", ORDERS);
  const blank = slider("blank columns after it", { max: 56, value: 0 });
  const threshold = slider("threshold", { min: 0.5, max: 2, step: 0.05, value: 1 });
  const trainedTau = networks.find((one) => one.tau)?.tau ?? 2;
  const taus = [trainedTau, ...TAUS].sort((a, b) => a - b);
  const tau = slider("tau of the synapse", { values: taus, value: trainedTau, unit: "steps" });
  const loop = box("feedback", true);
  const neuron = slider("hidden neuron", { value: 0 });
  const time = slider("columns read", { max: SIDE, value: drawsFirst ? 0 : SIDE });
  const brush = slider("brush", { min: 1, max: 4, step: 0.25, value: drawsFirst ? 1.5 : 2, unit: "pixels" });
  brush.input.dataset.withAnother = "";
  const plays = player(time);
  const pad = new Pad(
    "the picture",
    () => {
      image.value = labels.length;
      image.input.dispatchEvent(new Event("change", { bubbles: true }));
    },
    () => drawsFirst && plays.begin(0),
  );
  const clear = button("clear", () => {
    pad.set(new Uint8Array(SIDE * SIDE));
    pad.changed();
  });
  if (drawsFirst) {
    // A picture is read until the first stroke, which begins a drawing over its outline.
    requestAnimationFrame(() => plays.begin(0));
    pad.ghost = pixels.slice(0, SIDE * SIDE);
    const begin = () => image.value < labels.length && pad.set(new Uint8Array(SIDE * SIDE));
    pad.canvas.addEventListener("pointerdown", begin, { capture: true });
    pad.canvas.addEventListener("keydown", ({ key }) => key === " " && begin(), { capture: true });
  }

  /** @type {Activity} */
  let activity = { spikes: [], potentials: [], currents: [], columns: [], outputs: [] };
  let shown = { image: -1, network: -1 };
  const rows = classes.map((name) => {
    const [meter, percent] = [make("meter", { max: 1, ariaLabel: name }), make("span")];
    return {
      meter,
      percent,
      element: make("div", { className: "snn-answer" }, make("span", {}, name), meter, percent),
    };
  });

  /**
   * Take the picture through a network with what the reader has set.
   * @param {import("./activity.js").Loaded} one
   */
  function activityOf(one) {
    const { trained, hidden, synapse } = one;
    if (hidden.stage.parameters.length) hidden.parameters = [[threshold.value]];
    hidden.isFedBack = loop.value && hidden.stage.feedback !== null;
    if (synapse && trained.tau !== null) {
      synapse.parameters = tau.value === trained.tau ? synapse.stage.parameters : [[1 / tau.value]];
    }
    const isDrawing = drawsFirst && image.value === labels.length;
    return run(one, columnsOf(isDrawing ? prepared(pad.pixels) : pad.pixels, order.value, blank.value));
  }

  /** Return what all others answer at the end, once there are networks of the reader's own. */
  function othersSaid() {
    if (!loaded.some(({ trained }) => trained.epochs)) return "";
    const answered = loaded.flatMap((one, k) => {
      if (k === which.value) return [];
      const { outputs } = activityOf(one);
      const { means } = answers(outputs, outputs.length, one.trained.scale);
      return [`${one.trained.name}: ${classes[means.indexOf(Math.max(...means))]}`];
    });
    return ` At the end the others answer ${answered.join(", ")}.`;
  }

  const chart = new Chart("columns, spikes, mean outputs and a hidden neuron of the network over time", () => {
    const { trained } = loaded[which.value];
    const seen = { until: time.value, neuron: neuron.value, threshold: threshold.value, trained, classes };
    return panelsOf(activity, seen);
  });

  // A network that is trained on this page comes after those of the package, and again after each epoch.
  document.addEventListener("snn-trained", (event) => {
    const { trained, cells: own, isLast } = /** @type {CustomEvent} */ (event).detail;
    const net = new Network(trained.stages(), own);
    const [hidden, synapse] = [trained.hidden, trained.synapse].map((place) => net.layers[place] ?? null);
    const found = loaded.findIndex((one) => one.trained.name === trained.name);
    const place = found < 0 ? loaded.length : found;
    if (found < 0) which.input.append(make("option", {}, trained.name));
    loaded[place] = /** @type {import("./activity.js").Loaded} */ ({ trained, net, hidden, synapse });
    if (isLast || place === which.value) which.input.dispatchEvent(new Event("change", { bubbles: true }));
  });

  /** Show what the network has, and as many steps as there are. */
  function fit() {
    const { trained, hidden } = loaded[which.value];
    tau.element.hidden = trained.tau === null;
    threshold.element.hidden = hidden.stage.parameters.length === 0;
    loop.element.hidden = hidden.stage.feedback === null;
    const steps = SIDE + blank.value;
    const isWhole = time.value === Number(time.input.max);
    time.input.max = `${steps}`;
    time.value = isWhole ? steps : time.value;
    if (image.value !== shown.image && image.value < labels.length) {
      pad.set(pixels.subarray(image.value * SIDE * SIDE, (image.value + 1) * SIDE * SIDE));
    }
    pad.size = brush.value;
    pad.draw();
    activity = activityOf(loaded[which.value]);
    if (which.value !== shown.network) {
      neuron.input.max = `${hidden.stage.outputs - 1}`;
      neuron.value = typical(activity.spikes);
    }
    shown = { image: image.value, network: which.value };
  }

  return {
    controls: [
      [which.element, image.element],
      [...plays.buttons, time.element],
    ],
    figures: [
      make(
        "div",
        { className: "snn-sides" },
        make(
          "div",
          { className: "snn-side" },
          pad.canvas,
          make("div", { className: "snn-row" }, brush.element, clear),
          make("div", {}, ...rows.map((row) => row.element)),
        ),
        make("div", { className: "snn-main" }, chart.canvas),
      ),
    ],
    more: [
      [neuron.element, order.element, blank.element],
      [threshold.element, tau.element, loop.element],
    ],
    numbers: () => ({
      ...Object.fromEntries(Object.entries(activity).map(([name, seq]) => [name, seq.map((one) => Array.from(one))])),
      ...answers(activity.outputs, time.value, loaded[which.value].trained.scale),
    }),
    update() {
      fit();
      chart.draw();
      const { trained } = loaded[which.value];
      const isEmpty = !pad.pixels.some((grey) => grey > 0);
      const { shares } = answers(activity.outputs, time.value, trained.scale);
      const best = shares.indexOf(Math.max(...shares));
      for (const [k, { meter, percent, element }] of rows.entries()) {
        meter.value = isEmpty ? 0 : shares[k];
        percent.textContent = isEmpty ? "" : `${Math.round(100 * shares[k])} %`;
        element.classList.toggle("best", k === best && time.value > 0 && !isEmpty);
      }
      if (isEmpty) return "Draw a garment on the black square: a shoe, a shirt, a bag.";
      if (time.value === 0) return "No column has been read.";
      const count = activity.spikes.slice(0, time.value).reduce((sum, step) => step.reduce((a, b) => a + b, sum), 0);
      const truth = classes[labels[image.value]];
      const judged = truth === undefined ? "" : truth === classes[best] ? ", which is right" : `; it is: ${truth}`;
      const blanks = blank.value && !trained.epochs ? " It was trained without blank columns." : "";
      const own = trained.epochs ? ` It was trained on this page, and is seen after ${trained.epochs} epochs.` : "";
      const read = `After ${time.value} columns and ${count} hidden spikes, the ${trained.name} network answers: `;
      return `${read}${classes[best]}${judged}.${blanks}${own}${othersSaid()}`;
    },
  };
}

/**
 * Return the neuron in the middle of those that fire, by their number of spikes.
 * @param {Float64Array[]} spikes
 */
function typical(spikes) {
  const counts = Array.from(spikes[0].keys(), (j) => spikes.reduce((sum, step) => sum + step[j], 0));
  const firing = Array.from(counts.keys()).filter((j) => counts[j]);
  firing.sort((j, k) => counts[j] - counts[k]);
  return firing[Math.floor(firing.length / 2)] ?? 0;
}

/**
 * @param {Activity} activity
 * @param {Seen} seen
 * @returns {import("./chart.js").Panel[]}
 */
function panelsOf({ columns, spikes, potentials, currents, outputs }, { until, neuron, threshold, trained, classes }) {
  const x = [-0.5, columns.length - 0.5];
  const time = Array.from({ length: until }, (_, t) => t);
  const hidden = spikes[0].length;
  const fired = time.flatMap((t) => Array.from(spikes[t].keys(), (j) => ({ t, j })).filter(({ j }) => spikes[t][j]));
  const own = fired.filter(({ j }) => j === neuron);
  const rows = Array.from({ length: SIDE }, (_, row) => columns.map((column, t) => (t < until ? column[row] : 0)));
  const sums = outputs.map((_, t) => answers(outputs, t + 1, trained.scale).means);
  const all = sums.flatMap((means) => Array.from(means));
  const last = sums[until - 1] ?? [];
  const best = last.indexOf(Math.max(...last));
  const v = potentials.map((step) => step[neuron]);
  const i = currents.map((step) => step[neuron]);
  const [low, high] = [Math.min(0, ...v, ...i), Math.max(1.2 * threshold, ...v, ...i)];
  /** @type {import("./chart.js").Mark[]} */
  const brought = [
    {
      kind: "line",
      x: time,
      y: i,
      dashed: true,
      color: trained.synapse === null ? COLORS.loop : COLORS.current,
      label: trained.synapse === null ? "from the loop" : "current I",
    },
  ];
  return [
    {
      height: 84,
      x,
      y: [SIDE - 0.5, -0.5],
      title: "columns as they enter",
      yLabel: "row",
      yTicks: [],
      marks: [{ kind: "grid", values: rows.flat(), columns: columns.length, high: 1 }],
    },
    {
      height: Math.max(96, 3 * hidden),
      x,
      y: [hidden - 0.5, -0.5],
      title: "hidden spikes",
      yLabel: "neuron",
      marks: [
        { kind: "line", x, y: [neuron, neuron], color: COLORS.threshold, width: 1, label: `neuron ${neuron}` },
        { kind: "dots", x: fired.map(({ t }) => t), y: fired.map(({ j }) => j), color: COLORS.spike, size: 1.2 },
      ],
    },
    {
      height: 150,
      x,
      y: [Math.min(0, ...all), Math.max(1, ...all)],
      title: "mean output so far",
      marks: classes.map((name, j) => ({
        kind: "line",
        x: time,
        y: sums.map((means) => means[j]),
        color: j === best ? COLORS.membrane : COLORS.threshold,
        width: j === best ? 3 : 1,
        label: name,
      })),
    },
    {
      height: 120,
      x,
      y: [low - 0.05 * (high - low), high + 0.05 * (high - low)],
      title: `hidden neuron ${neuron}`,
      xLabel: "time step",
      marks: [
        { kind: "line", x, y: [threshold, threshold], color: COLORS.threshold, dashed: true, label: "threshold" },
        ...(i.length ? brought : []),
        { kind: "line", x: time, y: v, color: COLORS.membrane, label: "potential v" },
        { kind: "dots", x: own.map(({ t }) => t), y: own.map(() => threshold), color: COLORS.spike, label: "spike" },
      ],
    },
  ];
}
