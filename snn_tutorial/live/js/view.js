/** Puts a view in the place of the static figure that stands there without JavaScript. */

import { button, make } from "./controls.js";

/**
 * What a reader can change, what is shown, and the numbers that are shown, for tests.
 * @typedef {{controls: HTMLElement[][], figures: HTMLElement[], more?: HTMLElement[][], update: () => string,
 *   numbers: () => unknown, shared?: Record<string, {value: number | string | boolean}>,
 *   film?: {name: string, frames: number, show: (frame: number) => void}}} View
 *   Rows of controls above the figures and, if there are `more`, below them. `update` returns a sentence that says what is
 *   seen; then all charts are drawn. The site may keep what is `shared` in a page's address, and save the `film`.
 * @typedef {import("./chart.js").Chart} Chart
 * @typedef {Map<HTMLElement, AbortController>} Running  What ends a view, by its figure.
 */

/**
 * @template D
 * @typedef {(data: D, signal: AbortSignal) => View} Build  What a view has put elsewhere ends with the signal.
 */

/**
 * Start the view of the script that runs now, or, where the page does not say which that is, of the first figure left.
 * If it cannot be started, the static figure stays. A button builds it anew. Views that have left the page, as when a cell runs again, end.
 * @template D
 * @param {string} name
 * @param {D} data
 * @param {Build<D>} build
 */
export function start(name, data, build) {
  const page = /** @type {{snnRunning?: Running}} */ (globalThis);
  page.snnRunning ??= new Map();
  for (const [figure, controller] of page.snnRunning) {
    if (figure.isConnected) continue;
    controller.abort();
    page.snnRunning.delete(figure);
  }
  const waiting = `figure[data-view="${name}"]:not([data-live])`;
  const near = document.currentScript?.parentElement?.querySelector(waiting);
  const figure = near ?? document.querySelector(waiting);
  if (!(figure instanceof HTMLElement)) return;
  figure.dataset.live = "";
  const place = make("div");
  const running = page.snnRunning;

  /** Build the view as it is at first. */
  const begin = () => {
    running.get(figure)?.abort();
    const controller = new AbortController();
    const { signal } = controller;
    running.set(figure, controller);
    const view = build(data, signal);
    const again = button("start again", () => {
      for (const fold of figure.querySelectorAll("details")) fold.open = false;
      begin();
      figure.dispatchEvent(new Event("change"));
      place.querySelector("button")?.focus();
    });
    again.hidden = true;
    const said = make("output", { className: "snn-said" });
    const draw = () => {
      for (const canvas of figure.querySelectorAll("canvas")) /** @type {{chart?: Chart}} */ (canvas).chart?.draw();
    };
    const update = () => {
      said.value = view.update();
      draw();
    };
    for (const kind of ["input", "change"]) {
      figure.addEventListener(
        kind,
        ({ target }) => {
          again.hidden &&= target === figure;
          update();
        },
        { signal },
      );
    }
    const { controls: above, more: below = above.length ? [] : [[]] } = view;
    const last = below.length ? below : above;
    /** @param {HTMLElement[][]} controls */
    const rows = (controls) =>
      controls.map((row) => make("div", { className: "snn-row" }, ...row, ...(row === last.at(-1) ? [again] : [])));
    figure.querySelector("figcaption")?.remove();
    if (!place.isConnected) figure.querySelector("img, .snn-static")?.replaceWith(place);
    place.replaceChildren(...rows(above), ...view.figures, said, ...rows(below));
    for (const control of place.querySelectorAll("input, select, textarea, button, canvas")) {
      control.setAttribute("data-lm-suppress-shortcuts", "true"); // else JupyterLab takes the arrow keys
    }
    Object.assign(figure, { view });
    update();
    // Charts are drawn again when the page changes its width or its colours.
    const size = new ResizeObserver(draw);
    size.observe(figure);
    const colors = new MutationObserver(draw);
    for (const element of [document.documentElement, document.body]) colors.observe(element, { attributes: true });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw, { signal });
    signal.addEventListener("abort", () => {
      size.disconnect();
      colors.disconnect();
    });
  };
  begin();
}
