/** Train the three networks on the page, side by side, each in a worker of its own. */

import { BLUE, Chart, GREY, VERMILION } from "./chart.js";
import { button, make, menu, slider } from "./controls.js";

/**
 * @typedef {import("./worker.js").Report} Report
 * @typedef {{name: string, history: Omit<Report, "tensors">[], failed: string, worker?: Worker}} Run
 * @typedef {{loss: number, accuracy: number}[]} Curve
 * @typedef {{worker: string, images: string, labels: string, sizes: [number, number], side: number, classes: string[],
 *   kinds: (import("./learner.js").Kind & {hidden: number, synapse: number | null})[], batch: number,
 *   cells: Record<string, import("./scan.js").CellStep>, optimizers: string[], rates: number[], cuts: string[],
 *   taus: [number, number][], schedule: number[], recorded: Curve[]}} TrainData
 *   `worker` is its script, `rates` are the optimizers' first learning rates, `taus` time constants and how they are
 *   kept, `schedule` factors on the learning rate for each epoch, `recorded` the curves of Python.
 */

const COLORS = [GREY, VERMILION, BLUE];
const RATES = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1];
const LIMITS = [1e9, 1, 0.1];
/** After so many epochs progress is said again. */
const SAID = 5;
/** Firing rates are from 0 to 1; so much more of them makes the answer's bars differ. */
const SCALE = 10;

/**
 * @param {TrainData} data
 * @returns {import("./view.js").View}
 */
export function train(data) {
  const names = data.kinds.map(({ name }) => name);
  const epochs = data.schedule.length;
  const optimizer = menu("optimizer", data.optimizers, data.optimizers.length - 1);
  const rate = slider("learning rate", { values: RATES, value: data.rates[data.rates.length - 1] });
  const clip = menu("norm of the gradient", ["as it is", "at most 1", "at most 0.1"]);
  const cut = menu("gradient through the reset is cut", data.cuts);
  const hidden = slider("hidden neurons", { min: 8, max: 64, step: 8, value: 32 });
  const tau = slider("tau of the synapse", { values: data.taus.map(([value]) => value), value: 2, unit: "steps" });
  const images = slider("training images", { values: [250, 500, 1000, data.sizes[0]], value: data.sizes[0] });
  const order = menu("columns", ["left to right", "shuffled"]);
  const blank = slider("blank columns before the answer", { min: 0, max: 56, step: 7, value: 0 });
  /** @type {[import("./controls.js").Control<number>, string][]} */
  const hints = [
    [optimizer, "SGD with momentum is the text's optimizer, Adam gives each weight a step of its own: which is ahead?"],
    [rate, "A larger step learns faster at first: from where on does a curve jump, or stay at 10 %?"],
    [clip, "A limit keeps a step small where the gradient explodes: do cliffs in the curves vanish?"],
    [
      cut,
      "Look for cliffs in the feedback network's curve with SGD, and whether they vanish with the gradient let through.",
    ],
    [hidden, "Do more neurons bring the three closer together, or is it memory that counts?"],
    [tau, "Only the stateful synapse has it: is a longer memory an advantage when all is over after 28 columns?"],
    [images, "With fewer images the loss falls further, but the test accuracy stays behind: that is overfitting."],
    [order, "Neighbours are torn apart, in the same way for each picture: which network loses most?"],
    [blank, "The answer counts the empty steps, too: which network still knows what it saw?"],
  ];
  const idle = `Train starts ${names.length} networks on ${data.sizes[0]} real images, each in a worker of its own.`;
  let said = idle;
  let seed = 0;
  let isPaused = false;
  /** @type {Run[]} */
  let runs = names.map((name) => ({ name, history: [], failed: "" }));
  let before = data.recorded;

  const go = button("Train", () => (runs.some((run) => run.worker) ? pause() : begin()));
  const again = button("again with another seed", () => {
    seed++;
    begin();
  });
  const table = make("table");
  const states = names.map(() => make("div"));
  const show = () => chart.canvas.dispatchEvent(new Event("change", { bubbles: true }));

  function begin() {
    for (const run of runs) run.worker?.terminate();
    if (runs.some(({ history }) => history.length)) before = runs.map(({ history }) => history);
    isPaused = false;
    const url = URL.createObjectURL(new Blob([data.worker], { type: "text/javascript" }));
    runs = names.map((name) => ({ name, history: [], failed: "" }));
    for (const [kind, run] of runs.entries()) {
      try {
        run.worker = new Worker(url);
        run.worker.onerror = (event) => fail(run, event.message || "its worker could not run");
        run.worker.onmessage = ({ data: found }) => (found.failed ? fail(run, found.failed) : take(kind, run, found));
        run.worker.postMessage(jobOf(kind));
      } catch (error) {
        fail(run, `${error}`);
      }
    }
    said = `Seed ${seed}: training has begun.`;
    show();
  }

  /**
   * @param {number} kind
   * @returns {import("./worker.js").Job}
   */
  const jobOf = (kind) => ({
    ...{ kind, seed, images: data.images, labels: data.labels, side: data.side, classes: data.classes.length },
    sizes: [images.value, data.sizes[0]],
    inverse: data.taus.find(([value]) => value === tau.value)?.[1] ?? 0,
    rates: data.schedule.map((factor) => factor * rate.value),
    isShuffled: order.value === 1,
    settings: {
      ...{ hidden: hidden.value, cut: cut.value, optimizer: optimizer.value, lr: rate.value, batch: data.batch },
      clip: LIMITS[clip.value],
      blank: blank.value,
    },
  });

  function pause() {
    isPaused = !isPaused;
    for (const run of runs) run.worker?.postMessage(isPaused);
    said = isPaused ? "Paused." : "Training continues.";
    show();
  }

  /** @param {Run} run @param {string} why */
  function fail(run, why) {
    run.worker?.terminate();
    run.worker = undefined;
    run.failed = why;
    said = `The ${run.name} network has stopped: ${why}. The others continue.`;
    show();
  }

  /** @param {number} kind @param {Run} run @param {Report} report */
  function take(kind, run, report) {
    if (!chart.canvas.isConnected) return run.worker?.terminate();
    const { tensors, ...numbers } = report;
    run.history.push(numbers);
    if (report.epoch === epochs) {
      run.worker?.terminate();
      run.worker = undefined;
    }
    if (report.epoch === common() && report.epoch % SAID === 0) said = summary();
    offer(kind, report.epoch, tensors);
    show();
  }

  /**
   * Let the views on this page that run trained networks have this one, too.
   * @param {number} kind
   * @param {number} epoch
   * @param {import("./learner.js").Tensors} tensors
   */
  function offer(kind, epoch, tensors) {
    const { stages, hidden: place, synapse, name } = data.kinds[kind];
    const size = tensors["fc1.bias"].length;
    const trained = {
      ...{ name: `${name} (yours)`, hidden: place, synapse, tau: null, scale: SCALE, sha256: "", file: "" },
      stages: () => stages(tensors, size)[0],
      about: `Trained on this page; its weights after ${epoch} epochs.`,
    };
    document.dispatchEvent(
      new CustomEvent("snn-trained", { detail: { trained, cells: data.cells, isLast: epoch === epochs } }),
    );
  }

  const percent = (/** @type {number} */ share) => `${(100 * share).toFixed(1)} %`;
  const last = (/** @type {Run} */ { history }) => history[history.length - 1];
  /** Return how many epochs all have that have not failed. */
  const common = () => Math.min(...runs.filter((run) => !run.failed).map(({ history }) => history.length));
  const summary = () => {
    const epoch = common();
    const parts = runs.flatMap(({ name, history: { [epoch - 1]: one } }) =>
      one ? [`${name} ${percent(one.accuracy)}`] : [],
    );
    return `After ${epoch} of ${epochs} epochs these are right on the test images: ${parts.join(", ")}.`;
  };

  /** @param {Run} run */
  function stateOf(run) {
    const report = last(run);
    if (run.failed) return `stopped: ${run.failed}`;
    if (!report) return run.worker ? "first epoch" : "not trained yet";
    const left = Math.ceil((epochs - report.epoch) * report.seconds);
    const speed = `${Math.round(images.value / report.seconds)} images a second, ${left} s left`;
    return `epoch ${report.epoch} of ${epochs}, loss ${report.loss.toFixed(4)}, test ${percent(report.accuracy)}${run.worker ? `, ${speed}` : ""}`;
  }

  const chart = new Chart("train loss and test accuracy of the three networks by epoch", () => {
    /**
     * @param {number} height
     * @param {string} yLabel
     * @param {number} unit  the ends of the axis are multiples of it
     * @param {(one: {loss: number, accuracy: number}) => number} value
     * @param {boolean} isNamed
     * @returns {import("./chart.js").Panel}
     */
    const panel = (height, yLabel, unit, value, isNamed) => {
      const curves = runs.map(({ history }, k) => [before[k], history].map((curve) => curve.map(value)));
      const all = curves.flat(2);
      return {
        ...{ height, yLabel, x: [0, epochs], xLabel: isNamed ? "" : "epoch" },
        y: [unit * Math.floor(Math.min(...all) / unit), unit * Math.ceil(Math.max(...all) / unit)],
        title: isNamed ? "" : `dashed: ${before === data.recorded ? "recorded in Python" : "your training before"}`,
        marks: curves.flatMap((pair, k) =>
          pair.map((y, place) => ({
            kind: /** @type {const} */ ("line"),
            ...{ x: y.map((_, epoch) => epoch + 1), y, color: COLORS[k], dashed: place === 0 },
            label: isNamed && place ? runs[k].name : "",
          })),
        ),
      };
    };
    return [
      panel(140, "train loss", 0.01, ({ loss }) => loss, true),
      panel(160, "test accuracy (%)", 10, ({ accuracy }) => 100 * accuracy, false),
    ];
  });

  function fillTable() {
    const head = ["epoch", ...names.flatMap((name) => [`${name}: loss`, "test"])];
    const rows = Array.from({ length: Math.max(...runs.map(({ history }) => history.length)) }, (_, k) => [
      `${k + 1}`,
      ...runs.flatMap(({ history: { [k]: one } }) => (one ? [one.loss.toFixed(4), percent(one.accuracy)] : ["", ""])),
    ]);
    const cells = (/** @type {"th" | "td"} */ tag, /** @type {string[]} */ row) =>
      make("tr", {}, ...row.map((text) => make(tag, {}, text)));
    table.replaceChildren(cells("th", head), ...rows.map((row) => cells("td", row)));
  }

  for (const [control, hint] of hints) {
    control.input.addEventListener("input", () => {
      if (control === optimizer) rate.value = data.rates[optimizer.value];
      const later = runs.some((run) => run.worker) ? " It counts from the next start on." : "";
      said = `${hint}${later}`;
    });
  }

  return {
    controls: [[go, again]],
    figures: [chart.canvas, ...states],
    more: [
      [optimizer.element, rate.element],
      [clip.element, cut.element],
      [hidden.element, tau.element, images.element],
      [order.element, blank.element],
      [make("details", {}, make("summary", {}, "the curves as a table"), table)],
    ],
    numbers: () => ({ runs: runs.map(({ history, failed }) => ({ history, failed })), seed, isPaused }),
    update() {
      const isRunning = runs.some((run) => run.worker);
      go.textContent = isRunning ? (isPaused ? "Resume" : "Pause") : "Train";
      again.hidden = runs.every(({ history, failed }) => !history.length && !failed);
      for (const [k, run] of runs.entries()) states[k].textContent = `${run.name}: ${stateOf(run)}`;
      chart.draw();
      fillTable();
      return said;
    },
  };
}
