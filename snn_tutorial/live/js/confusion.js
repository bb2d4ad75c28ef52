/** Which classes a network takes for which, and the images behind a cell of its confusion matrix. */

import { BLUE, Chart, GREY, VERMILION } from "./chart.js";
import { make, menu } from "./controls.js";
import { inflated } from "./inflate.js";

/**
 * @typedef {{classes: string[], networks: string[], counts: number[][], shown: number[][][], images: string,
 *   numbers: number[], first: [number, number]}} ConfusionData
 *   For each network, by true class times the number of classes plus answer: how many images there are, and which of
 *   the packed ones are shown. `numbers` are those of the deflated images in the test set.
 */

const SIDE = 28;
const GAP = 4;
const PER_ROW = 3;
const ROWS = [0, 1];
const COLUMNS = PER_ROW * SIDE + (PER_ROW - 1) * GAP;

/**
 * @param {ConfusionData} data
 * @returns {import("./view.js").View}
 */
export function confusion({ classes, networks, counts, shown, images, numbers, first }) {
  const network = menu("network", networks);
  const truth = menu("true class", classes, first[0]);
  const answer = menu("answer", classes, first[1]);
  let pixels = new Uint8Array();
  inflated(images).then((found) => {
    pixels = found;
    gallery.draw();
  });
  const size = classes.length;
  const totals = counts[0].reduce((sums, count, k) => {
    sums[Math.floor(k / size)] += count;
    return sums;
  }, new Array(size).fill(0));
  const cell = () => truth.value * size + answer.value;
  const count = () => counts[network.value][cell()];
  const fits = () => shown[network.value][cell()];
  /** @param {number} k */
  const image = (k) => pixels.subarray(k * SIDE * SIDE, (k + 1) * SIDE * SIDE);

  /**
   * Colour the cells on the diagonal, or the others. The root makes rare errors visible.
   * @param {boolean} isRight
   */
  const shares = (isRight) =>
    counts[network.value].map((n, k) => {
      const row = Math.floor(k / size);
      return (row === k % size) === isRight ? Math.sqrt(n / Math.max(1, totals[row])) : 0;
    });

  const matrix = new Chart("confusion matrix: images by their true class, downwards, and the network's answer", () => {
    const places = classes.map((_, k) => k + 0.5);
    const all = counts[network.value];
    const cells = [...all.keys()].filter((k) => all[k] > 0);
    const [x, y] = [answer.value, truth.value];
    return [
      {
        height: 26 * size,
        x: [0, size],
        y: [size, 0],
        xLabel: "network's answer",
        yLabel: "true class",
        xTicks: classes.map((name, k) => [places[k], name]),
        yTicks: classes.map((name, k) => [places[k], name]),
        left: 92,
        upright: 78,
        isBare: true,
        marks: [
          { kind: "grid", values: shares(true), columns: size, high: 2, color: BLUE, label: "right" },
          { kind: "grid", values: shares(false), columns: size, high: 1, color: VERMILION, label: "wrong" },
          {
            kind: "words",
            x: cells.map((k) => places[k % size]),
            y: cells.map((k) => places[Math.floor(k / size)]),
            text: cells.map((k) => `${all[k]}`),
          },
          { kind: "line", x: [x, x + 1, x + 1, x, x], y: [y, y, y + 1, y + 1, y], color: GREY },
        ],
      },
    ];
  });
  matrix.canvas.style.cursor = "pointer";
  matrix.canvas.addEventListener("click", (event) => {
    const at = matrix.at(event);
    const [x, y] = [Math.floor(at.x), Math.floor(at.y)];
    if (Math.min(x, y) < 0 || Math.max(x, y) >= size) return;
    truth.value = y;
    answer.value = x;
    answer.input.dispatchEvent(new Event("change", { bubbles: true }));
  });

  /** @param {number[]} row  up to three of the packed images */
  function sideBySide(row) {
    const values = new Uint8Array(SIDE * COLUMNS);
    for (const [place, k] of row.entries()) {
      for (let y = 0; y < SIDE; y++) {
        values.set(image(k).subarray(y * SIDE, (y + 1) * SIDE), y * COLUMNS + place * (SIDE + GAP));
      }
    }
    return values;
  }

  const gallery = new Chart("images of the true class for which the network gave the answer", () => {
    const room = gallery.canvas.clientWidth - 14; // within the borders of a panel
    return ROWS.map((k) => {
      const row = fits().slice(k * PER_ROW, (k + 1) * PER_ROW);
      /** @type {[number, string][]} */
      const names = row.map((one, place) => [place * (SIDE + GAP) + SIDE / 2, `image ${numbers[one]}`]);
      return {
        height: (Math.min(room, 342) * SIDE) / COLUMNS,
        x: [0, COLUMNS],
        y: [SIDE, 0],
        title: k
          ? ""
          : `${classes[truth.value]}, answer ${classes[answer.value]}: ${whole(count())} ${count() === 1 ? "image" : "images"}`,
        xTicks: names,
        yTicks: [],
        left: 4,
        isBare: true,
        isSquare: true,
        marks: [{ kind: "grid", values: sideBySide(row), columns: COLUMNS, high: 255 }],
      };
    });
  });

  const halves = [matrix, gallery].map(({ canvas }) => make("div", { className: "snn-half" }, canvas));
  return {
    controls: [[network.element], [truth.element, answer.element]],
    figures: [make("div", { className: "snn-row" }, ...halves)],
    numbers: () => ({
      counts: counts[network.value],
      count: count(),
      images: fits().map((k) => numbers[k]),
      pixels: fits().map((k) => [...image(k)]),
    }),
    update() {
      matrix.draw();
      gallery.draw();
      const [n, seen, name] = [count(), fits().length, networks[network.value]];
      const part = `Of ${whole(totals[truth.value])} images of the class ${classes[truth.value]}, the network ${name}`;
      const found = n ? whole(n) : "none";
      const what = truth.value === answer.value ? `gets ${found} right` : `takes ${found} for ${classes[answer.value]}`;
      return `${part} ${what}${n > seen ? `. The first ${seen} are shown` : ""}.`;
    },
  };
}

/** @param {number} number */
function whole(number) {
  return number.toLocaleString("en");
}
