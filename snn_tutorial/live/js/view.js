/** Puts a view in the place of the static figure that stands there without JavaScript. */

import { make } from "./controls.js";

/**
 * What a reader can change, what is shown, and the numbers that are shown, for tests.
 * @typedef {{controls: HTMLElement[][], figures: HTMLElement[], more?: HTMLElement[][], update: () => string,
 *   numbers: () => unknown}} View  Rows of controls above the figures and, if there are `more`, below them.
 *   `update` returns a sentence that says what is seen; then all charts are drawn.
 * @typedef {import("./chart.js").Chart} Chart
 */

/** @template D @typedef {(data: D) => View} Build */

/**
 * Start the view of the script that runs now, or, where the page does not say which that is, of the first figure left.
 * If it cannot be started, the static figure stays.
 * @template D
 * @param {string} name
 * @param {D} data
 * @param {Build<D>} build
 */
export function start(name, data, build) {
  const waiting = `figure[data-view="${name}"]:not([data-live])`;
  const near = document.currentScript?.parentElement?.querySelector(waiting);
  const figure = near ?? document.querySelector(waiting);
  if (!(figure instanceof HTMLElement)) return;
  figure.dataset.live = "";
  const view = build(data);
  const said = make("output", { className: "snn-said" });
  const update = () => {
    said.value = view.update();
    for (const canvas of figure.querySelectorAll("canvas")) /** @type {{chart?: Chart}} */ (canvas).chart?.draw();
  };
  /** @param {HTMLElement[][]} controls */
  const rows = (controls) => controls.map((row) => make("div", { className: "snn-row" }, ...row));
  figure.addEventListener("input", update);
  figure.addEventListener("change", update);
  const parts = [...rows(view.controls), ...view.figures, said, ...rows(view.more ?? [])];
  figure.querySelector("img, .snn-static")?.replaceWith(...parts);
  for (const control of figure.querySelectorAll("input, select, button, canvas")) {
    control.setAttribute("data-lm-suppress-shortcuts", "true"); // else JupyterLab takes the arrow keys
  }
  Object.assign(figure, { view });
  update();
}
