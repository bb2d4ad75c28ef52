/** Train the three networks on the page, side by side, each in a worker of its own. */

import { Chart } from "./chart.js";
import { colorOf } from "./colors.js";
import { button, changed, make, menu, slider } from "./controls.js";
import { range } from "./numbers.js";

/**
 * @typedef {import("./learner.js").Report} Report
 * @typedef {{name: string, history: Omit<Report, "tensors">[], failed: string, worker?: Worker}} Run
 * @typedef {{label: string, first: number, choices?: string[], values?: number[], unit?: string,
 *   rates?: number[]}} Option  A menu or a slider; `rates` are the learning rates that its choices begin with.
 * @typedef {{worker: string, lesson: import("./learner.js").Lesson, options: Record<string, Option>,
 *   hints: Record<string, string>, scale: number, kinds: import("./learner.js").Kind[],
 *   cells: import("./scan.js").Cells, recorded: {loss: number, accuracy: number}[][]}} TrainData
 *   `worker` is its script, `recorded` are the curves of Python, `scale` is that of answers.
 */

/** After so many epochs progress is said again. */
const SAID = 5;

/** @type {import("./view.js").Build<TrainData>} */
export const train = (data) => {
  const names = data.kinds.map(({ name }) => name);
  const epochs = data.lesson.schedule.length;
  const url = URL.createObjectURL(new Blob([data.worker], { type: "text/javascript" }));
  const controls = Object.entries(data.options).map(([key, { label, choices, first, ...range }]) => ({
    key,
    control: choices ? menu(label, choices, first) : slider(label, { ...range, value: first }),
  }));
  let said = `Train starts ${names.length} networks on ${data.lesson.sizes[0]} real images, side by side.`;
  let seed = 0;
  let isPaused = false;
  let before = data.recorded;
  /** @returns {Run[]} */
  const fresh = () => names.map((name) => ({ name, history: [], failed: "" }));
  let runs = fresh();
  const isRunning = () => runs.some(({ worker }) => worker);

  const go = button("Train", () => (isRunning() ? pause() : begin()));
  const again = button("again with another seed", () => {
    seed++;
    begin();
  });
  const table = make("table");
  const states = names.map(() => make("div"));

  /** @param {string} news */
  function tell(news) {
    said = news;
    changed(go);
  }

  function begin() {
    for (const run of runs) end(run);
    if (runs.some(({ history }) => history.length)) before = runs.map(({ history }) => history);
    isPaused = false;
    const settings = Object.fromEntries(controls.map(({ key, control }) => [key, control.value]));
    runs = fresh();
    tell(`Seed ${seed}: training has begun.`);
    for (const [kind, run] of runs.entries()) {
      try {
        run.worker = new Worker(url);
        run.worker.onerror = (event) => fail(run, event.message || "its worker could not run");
        run.worker.onmessage = ({ data: found }) => (found.failed ? fail(run, found.failed) : take(kind, run, found));
        run.worker.postMessage({ ...data.lesson, kind, seed, settings });
      } catch (error) {
        fail(run, `${error}`);
      }
    }
    changed(go);
  }

  function pause() {
    isPaused = !isPaused;
    for (const run of runs) run.worker?.postMessage(isPaused);
    tell(isPaused ? "Paused." : "Training continues.");
  }

  /** @param {Run} run */
  function end(run) {
    run.worker?.terminate();
    run.worker = undefined;
  }

  /** @param {Run} run @param {string} why */
  function fail(run, why) {
    end(run);
    run.failed = why;
    tell(`The ${run.name} network has stopped: ${why}. The others continue.`);
  }

  /** @param {number} kind @param {Run} run @param {Report} report */
  function take(kind, run, { tensors, ...report }) {
    if (!chart.canvas.isConnected) return end(run);
    const isLast = report.epoch === epochs;
    run.history.push(report);
    if (isLast) end(run);
    // The views on this page that run trained networks get this one, too.
    const name = `${run.name} (yours)`;
    const trained = { ...data.kinds[kind], name, tensors, tau: null, scale: data.scale, epochs: report.epoch };
    document.dispatchEvent(new CustomEvent("snn-trained", { detail: { trained, cells: data.cells, isLast } }));
    tell(summary());
  }

  const percent = (/** @type {number} */ share) => `${(100 * share).toFixed(1)} %`;

  /** Return what is said when all that have not failed have come to an epoch that is told, else what was said. */
  function summary() {
    const going = runs.filter((run) => !run.failed);
    const epoch = Math.min(...going.map(({ history }) => history.length));
    if (epoch === 0 || epoch % SAID) return said;
    const right = going.map(({ name, history }) => `${name} ${percent(history[epoch - 1].accuracy)}`);
    return `After ${epoch} of ${epochs} epochs these are right on the test images: ${right.join(", ")}.`;
  }

  /** @param {Run} run */
  function stateOf({ history, failed, worker }) {
    const report = history.at(-1);
    if (failed) return `stopped: ${failed}`;
    if (!report) return worker ? "first epoch" : "not trained yet";
    const left = Math.ceil((epochs - report.epoch) * report.seconds);
    const speed = `, ${Math.round(report.images / report.seconds)} images a second, ${left} s left`;
    const result = `loss ${report.loss.toFixed(4)}, test ${percent(report.accuracy)}`;
    return `epoch ${report.epoch} of ${epochs}, ${result}${worker ? speed : ""}`;
  }

  const chart = new Chart("train loss and test accuracy of the three networks by epoch", () => {
    /** @param {"loss" | "accuracy"} key @param {number} scale @param {number} unit  of the ends of the axis */
    const panel = (key, scale, unit) => {
      const values = (/** @type {{loss: number, accuracy: number}[]} */ curve) => curve.map((one) => scale * one[key]);
      const curves = runs.flatMap(({ name, history }, k) => [
        { name, y: values(before[k]), dashed: true, label: history.length ? "" : name },
        { name, y: values(history), dashed: false, label: name },
      ]);
      const all = curves.flatMap(({ y }) => y);
      return {
        x: [0, epochs],
        y: [unit * Math.floor(Math.min(...all) / unit), unit * Math.ceil(Math.max(...all) / unit)],
        marks: curves.map(({ name, y, ...style }) => {
          const x = y.map((_, epoch) => epoch + 1);
          return { kind: /** @type {const} */ ("line"), x, y, color: colorOf(name), ...style };
        }),
      };
    };
    const title = `dashed: ${before === data.recorded ? "recorded in Python" : "your training before"}`;
    return [
      { ...panel("loss", 1, 0.01), height: 140, yLabel: "train loss", title },
      { ...panel("accuracy", 100, 10), height: 160, yLabel: "test accuracy (%)", xLabel: "epoch" },
    ];
  });

  function fillTable() {
    const head = ["epoch", ...names.flatMap((name) => [`${name}: loss`, "test"])];
    const rows = range(Math.max(...runs.map(({ history }) => history.length))).map((k) => [
      `${k + 1}`,
      ...runs.flatMap(({ history: { [k]: one } }) => (one ? [one.loss.toFixed(4), percent(one.accuracy)] : ["", ""])),
    ]);
    const cells = [head, ...rows].map((row, k) => row.map((text) => make(k ? "td" : "th", {}, text)));
    table.replaceChildren(...cells.map((row) => make("tr", {}, ...row)));
  }

  for (const { key, control } of controls) {
    control.input.addEventListener("input", () => {
      const rate = data.options[key].rates?.[control.value];
      const lr = controls.find((one) => one.key === "lr")?.control;
      if (rate && lr) lr.value = rate;
      said = `${data.hints[key]}${isRunning() ? " It counts from the next start on." : ""}`;
    });
  }

  return {
    controls: [[go, again]],
    figures: [chart.canvas, ...states],
    more: [
      controls.map(({ control }) => control),
      [make("details", {}, make("summary", {}, "the curves as a table"), table)],
    ],
    numbers: () => ({ runs: runs.map(({ history, failed }) => ({ history, failed })), seed, isPaused }),
    update() {
      go.textContent = isRunning() ? (isPaused ? "Resume" : "Pause") : "Train";
      again.hidden = runs.every(({ history, failed }) => !history.length && !failed);
      for (const [k, run] of runs.entries()) states[k].textContent = `${run.name}: ${stateOf(run)}`;
      fillTable();
      return said;
    },
  };
};
