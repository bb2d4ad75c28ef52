/** A small grey picture that can be drawn on, by mouse, finger or keyboard. */

import { SIDE } from "./activity.js";
import { make } from "./controls.js";

/** Grey of a stroke at its middle, and how much it loses with each pixel's distance. */
const INK = 230;
const FALL = 90;

/** What counts as drawn, and the grey of what an outline encloses. */
const FAINT = 40;
const FILL = 150;

/**
 * Return a drawing as the garments were prepared: as large as the square, in its middle, and with outlines filled.
 * @param {Uint8Array} pixels
 */
export function prepared(pixels) {
  const size = SIDE + 2; // with a margin, from which the ground is reached
  const ground = new Uint8Array(size * size);
  const left = [0];
  for (let k = left.pop(); k !== undefined; k = left.pop()) {
    const [x, y] = [(k % size) - 1, Math.floor(k / size) - 1];
    const isWithin = x >= 0 && y >= 0 && x < SIDE && y < SIDE;
    if (ground[k] || (isWithin && pixels[y * SIDE + x] > FAINT)) continue;
    ground[k] = 1;
    left.push(...[k - 1, k + 1, k - size, k + size].filter((one) => one >= 0 && one < size * size));
  }
  /** @param {number} x @param {number} y */
  const at = (x, y) => {
    if (ground[(y + 1) * size + x + 1] !== 0 || x < 0 || y < 0 || x >= SIDE || y >= SIDE) return 0;
    return Math.max(FILL, pixels[y * SIDE + x]);
  };
  const places = Array.from(pixels.keys()).filter((k) => at(k % SIDE, Math.floor(k / SIDE)) > 0);
  if (!places.length) return pixels;
  const [xs, ys] = [places.map((k) => k % SIDE), places.map((k) => Math.floor(k / SIDE))];
  const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs) + 1, Math.min(...ys), Math.max(...ys) + 1];
  const scale = Math.max(x1 - x0, y1 - y0) / SIDE;
  return pixels.map((_, k) => {
    const x = (x0 + x1 - 1) / 2 + ((k % SIDE) - (SIDE - 1) / 2) * scale;
    const y = (y0 + y1 - 1) / 2 + (Math.floor(k / SIDE) - (SIDE - 1) / 2) * scale;
    const [left, top] = [Math.floor(x), Math.floor(y)];
    const [u, v] = [x - left, y - top];
    const upper = (1 - u) * at(left, top) + u * at(left + 1, top);
    return (1 - v) * upper + v * ((1 - u) * at(left, top + 1) + u * at(left + 1, top + 1));
  });
}

export class Pad {
  /**
   * @param {string} description
   * @param {() => void} changed  called after every change
   * @param {() => void} finished  called when a stroke ends
   */
  constructor(description, changed, finished) {
    this.pixels = new Uint8Array(SIDE * SIDE);
    this.isErasing = false;
    /** Radius of the brush in pixels. */
    this.size = 2;
    /** Where the stroke was before. @type {[number, number] | undefined} */
    this.last = undefined;
    this.cursor = [SIDE / 2, SIDE / 2];
    this.canvas = make("canvas", { className: "snn-pad", width: SIDE, height: SIDE, tabIndex: 0 });
    this.canvas.setAttribute("role", "application");
    this.canvas.ariaLabel = `${description}: draw with the pointer, or move with the arrow keys and draw with the space bar`;
    this.changed = changed;
    this.canvas.addEventListener("pointerdown", (event) => this.#stroke(event));
    this.canvas.addEventListener("pointermove", (event) => event.buttons && this.#stroke(event));
    this.canvas.addEventListener("pointerup", finished);
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
    this.canvas.addEventListener("blur", () => this.draw());
  }

  /** @param {ArrayLike<number>} pixels  rows from the top, each from the left */
  set(pixels) {
    this.pixels.set(pixels);
    this.draw();
  }

  /**
   * Draw at a place in pixels.
   * @param {number} x
   * @param {number} y
   */
  ink(x, y) {
    for (let k = 0; k < this.pixels.length; k++) {
      const distance = Math.hypot((k % SIDE) + 0.5 - x, Math.floor(k / SIDE) + 0.5 - y);
      if (distance > this.size) continue;
      const grey = Math.max(0, INK - FALL * Math.max(0, distance - this.size + 1));
      this.pixels[k] = this.isErasing ? 0 : Math.max(this.pixels[k], grey);
    }
  }

  draw() {
    const pen = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    const image = pen.createImageData(SIDE, SIDE);
    for (const [k, grey] of this.pixels.entries()) image.data.set([grey, grey, grey, 255], 4 * k);
    pen.putImageData(image, 0, 0);
    if (document.activeElement === this.canvas) {
      pen.fillStyle = "#E69F00";
      pen.fillRect(Math.floor(this.cursor[0]), Math.floor(this.cursor[1]), 1, 1);
    }
  }

  /** @param {PointerEvent} event */
  #stroke(event) {
    event.preventDefault();
    if (event.type === "pointerdown") this.canvas.setPointerCapture(event.pointerId);
    const box = this.canvas.getBoundingClientRect();
    // A fast pointer reports several places at once.
    const events = event.getCoalescedEvents?.() ?? [];
    for (const { clientX, clientY } of events.length ? events : [event]) {
      const [x, y] = [((clientX - box.left) / box.width) * SIDE, ((clientY - box.top) / box.height) * SIDE];
      const [x0, y0] = event.type === "pointerdown" || !this.last ? [x, y] : this.last;
      // A fast stroke leaves no gaps.
      const parts = Math.ceil(Math.hypot(x - x0, y - y0)) || 1;
      for (let k = 1; k <= parts; k++) this.ink(x0 + ((x - x0) * k) / parts, y0 + ((y - y0) * k) / parts);
      this.last = [x, y];
    }
    this.draw();
    this.changed();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    /** @type {Record<string, [number, number]>} */
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], " ": [0, 0] };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    this.cursor = this.cursor.map((at, k) => Math.min(SIDE - 1, Math.max(0, at + move[k])));
    if (event.key === " ") this.ink(this.cursor[0] + 0.5, this.cursor[1] + 0.5);
    this.draw();
    if (event.key === " ") this.changed();
  }
}
