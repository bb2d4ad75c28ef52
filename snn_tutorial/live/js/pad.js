/** A small grey picture that can be drawn on, by mouse, finger or keyboard. */

import { make } from "./controls.js";
import { range, SIDE } from "./numbers.js";

/** Radius of a stroke in pixels, its grey in the middle, and how much that loses with each pixel's distance. */
const RADIUS = 1.5;
const INK = 230;
const FALL = 90;

/** What counts as drawn, the grey of what an outline encloses, and that of a ghost. */
const FAINT = 40;
const FILL = 150;
const GHOST = 70;

/**
 * Return a drawing as the garments were prepared: as large as the square, in its middle, and with outlines filled.
 * @param {Uint8Array} pixels
 */
export function prepared(pixels) {
  const size = SIDE + 2; // with a margin, from which the ground is reached
  const grey = new Uint8Array(size * size);
  for (const [k, one] of pixels.entries()) grey[(Math.floor(k / SIDE) + 1) * size + (k % SIDE) + 1] = one;
  const filled = grey.map((one) => Math.max(FILL, one));
  const left = [0];
  for (let k = left.pop(); k !== undefined; k = left.pop()) {
    if (!filled[k] || grey[k] > FAINT) continue;
    filled[k] = 0;
    left.push(...[k - 1, k + 1, k - size, k + size].filter((one) => one >= 0 && one < size * size));
  }
  const places = range(size * size).filter((k) => filled[k] > 0);
  if (!places.length) return pixels;
  const [xs, ys] = [places.map((k) => k % size), places.map((k) => Math.floor(k / size))];
  const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const scale = Math.max(x1 - x0 + 1, y1 - y0 + 1) / SIDE;
  /** @param {number} x @param {number} y */
  const at = (x, y) => (Math.min(x, y) < 0 || Math.max(x, y) >= size ? 0 : filled[y * size + x]);
  return pixels.map((_, k) => {
    const x = (x0 + x1) / 2 + ((k % SIDE) - (SIDE - 1) / 2) * scale;
    const y = (y0 + y1) / 2 + (Math.floor(k / SIDE) - (SIDE - 1) / 2) * scale;
    const [left, top] = [Math.floor(x), Math.floor(y)];
    const [upper, lower] = [top, top + 1].map(
      (row) => at(left, row) + (x - left) * (at(left + 1, row) - at(left, row)),
    );
    return upper + (y - top) * (lower - upper);
  });
}

/**
 * Paint a picture on a canvas of its own, white on black.
 * @param {HTMLCanvasElement} canvas
 * @param {(k: number) => number} grey  of each pixel
 */
export function paint(canvas, grey) {
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = pen.createImageData(SIDE, SIDE);
  for (let k = 0; k < SIDE * SIDE; k++) image.data.set([grey(k), grey(k), grey(k), 255], 4 * k);
  pen.putImageData(image, 0, 0);
  return pen;
}

/**
 * Return a canvas for {@link paint}.
 * @param {Record<string, unknown>} options
 */
export const picture = (options) => make("canvas", { className: "snn-picture", width: SIDE, height: SIDE, ...options });

export class Pad {
  /**
   * @param {string} description
   * @param {() => void} drawn  called after every change by the reader
   */
  constructor(description, drawn) {
    this.pixels = new Uint8Array(SIDE * SIDE);
    /** A picture whose outline lies under a drawing. */
    this.ghost = new Uint8Array(SIDE * SIDE);
    /** Where the stroke was before. */
    this.last = [0, 0];
    this.cursor = [SIDE / 2, SIDE / 2];
    this.drawn = drawn;
    const keys = "draw with the pointer, or move with the arrow keys and draw with the space bar";
    this.canvas = picture({ tabIndex: 0, ariaLabel: `${description}: ${keys}`, role: "application" });
    this.canvas.classList.add("snn-pad");
    this.canvas.addEventListener("pointerdown", (event) => this.#stroke(event));
    this.canvas.addEventListener("pointermove", (event) => event.buttons && this.#stroke(event));
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
    this.canvas.addEventListener("blur", () => this.draw());
  }

  /** @param {ArrayLike<number>} [pixels]  rows from the top, each from the left; without them it is empty */
  set(pixels = new Uint8Array(SIDE * SIDE)) {
    this.pixels.set(pixels);
    this.draw();
  }

  /**
   * Draw at a place in pixels.
   * @param {number} x
   * @param {number} y
   */
  #ink(x, y) {
    for (const k of this.pixels.keys()) {
      const distance = Math.hypot((k % SIDE) + 0.5 - x, Math.floor(k / SIDE) + 0.5 - y);
      if (distance > RADIUS) continue;
      this.pixels[k] = Math.max(this.pixels[k], INK - FALL * Math.max(0, distance - RADIUS + 1));
    }
  }

  draw() {
    const { ghost } = this;
    const isOutline = (/** @type {number} */ k) =>
      ghost[k] > FAINT && [k - 1, k + 1, k - SIDE, k + SIDE].some((one) => !(ghost[one] > FAINT));
    const pen = paint(this.canvas, (k) => this.pixels[k] || (isOutline(k) ? GHOST : 0));
    if (document.activeElement === this.canvas) {
      pen.fillStyle = "#E69F00";
      pen.fillRect(Math.floor(this.cursor[0]), Math.floor(this.cursor[1]), 1, 1);
    }
  }

  /** @param {PointerEvent} event */
  #stroke(event) {
    event.preventDefault();
    const isFirst = event.type === "pointerdown";
    if (isFirst) this.canvas.setPointerCapture(event.pointerId);
    const box = this.canvas.getBoundingClientRect();
    // A fast pointer reports several places at once.
    const events = event.getCoalescedEvents?.() ?? [];
    for (const { clientX, clientY } of events.length ? events : [event]) {
      const [x, y] = [((clientX - box.left) / box.width) * SIDE, ((clientY - box.top) / box.height) * SIDE];
      const [x0, y0] = isFirst ? [x, y] : this.last;
      // A fast stroke leaves no gaps and no dabs.
      const parts = Math.ceil(2 * Math.hypot(x - x0, y - y0)) || 1;
      for (let k = 1; k <= parts; k++) this.#ink(x0 + ((x - x0) * k) / parts, y0 + ((y - y0) * k) / parts);
      this.last = [x, y];
    }
    this.drawn();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    /** @type {Record<string, [number, number]>} */
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], " ": [0, 0] };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    this.cursor = this.cursor.map((at, k) => Math.min(SIDE - 1, Math.max(0, at + move[k])));
    if (event.key !== " ") return this.draw();
    this.#ink(this.cursor[0] + 0.5, this.cursor[1] + 0.5);
    this.drawn();
  }
}
