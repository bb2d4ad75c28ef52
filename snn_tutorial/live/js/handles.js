/** Points of a chart that are dragged, or chosen and moved with the arrow keys. */

import { changed } from "./controls.js";

/**
 * @param {import("./chart.js").Chart} chart
 * @param {(x: number, y: number, isFirst: boolean) => void} drag  gets places in the units of the first panel's axes
 * @param {(along: number, up: number) => void} move  gets -1, 0 or 1
 */
export function handles(chart, drag, move) {
  const { canvas } = chart;
  canvas.tabIndex = 0;
  canvas.classList.add("snn-pad");
  for (const kind of /** @type {const} */ (["pointerdown", "pointermove"])) {
    canvas.addEventListener(kind, ({ offsetX, offsetY, buttons, pointerId, type }) => {
      if (!buttons) return;
      const isFirst = type === "pointerdown";
      if (isFirst) canvas.setPointerCapture(pointerId);
      const [{ across, down }] = chart.places;
      const [x, y] = [(offsetX - across(0)) / (across(1) - across(0)), (offsetY - down(0)) / (down(1) - down(0))];
      drag(x, y, isFirst);
      changed(canvas);
    });
  }
  canvas.addEventListener("keydown", (event) => {
    const along = { ArrowLeft: -1, ArrowRight: 1 }[event.key] ?? 0;
    const up = { ArrowDown: -1, ArrowUp: 1 }[event.key] ?? 0;
    if (!along && !up) return;
    event.preventDefault();
    move(along, up);
    changed(canvas);
  });
}
