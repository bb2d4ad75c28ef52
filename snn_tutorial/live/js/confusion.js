/** Which classes a network takes for which, and the images behind a cell of its confusion matrix. */

import { inflated } from "./bytes.js";
import { Chart } from "./chart.js";
import { colorOf } from "./colors.js";
import { make, menu } from "./controls.js";
import { paint, picture } from "./pad.js";

/**
 * @typedef {{classes: string[], networks: string[], counts: number[][], shown: number[][][], images: string,
 *   numbers: number[], first: [number, number]}} ConfusionData
 *   For each network, by true class times the number of classes plus answer: how many images there are, and which of
 *   the packed ones are shown. `numbers` are those of the deflated images in the test set.
 */

const PIXELS = 28 * 28;

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
    fillGallery();
  });
  const size = classes.length;
  const totals = classes.map((_, k) => counts[0].slice(k * size, (k + 1) * size).reduce((a, b) => a + b, 0));
  const cell = () => truth.value * size + answer.value;
  const count = () => counts[network.value][cell()];
  const fits = () => shown[network.value][cell()];
  /** @param {number} k */
  const image = (k) => pixels.subarray(k * PIXELS, (k + 1) * PIXELS);

  const matrix = new Chart("confusion matrix: images by their true class, downwards, and the network's answer", () => {
    const all = counts[network.value];
    const places = [...all.keys()];
    // The root makes rare errors visible; what is right is half as strong.
    const shares = all.map((n, k) => {
      const row = Math.floor(k / size);
      return Math.sqrt(n / Math.max(1, totals[row])) / (row === k % size ? 2 : 1);
    });
    const [x, y] = [answer.value, truth.value];
    return [
      {
        height: 26 * size,
        x: [-0.5, size - 0.5],
        y: [size - 0.5, -0.5],
        xLabel: "network's answer",
        yLabel: "true class",
        ...{ xTicks: [...classes.keys()], yTicks: [...classes.keys()], xNames: classes, yNames: classes },
        ...{ left: 92, upright: 78, isBare: true },
        marks: [
          { kind: "grid", values: shares, columns: size, high: 1.2, color: colorOf(networks[network.value]) },
          {
            kind: "words",
            x: places.map((k) => k % size),
            y: places.map((k) => Math.floor(k / size)),
            text: all.map((n) => (n ? `${n}` : "")),
          },
          {
            kind: "line",
            x: [-0.5, 0.5, 0.5, -0.5, -0.5].map((d) => x + d),
            y: [-0.5, -0.5, 0.5, 0.5, -0.5].map((d) => y + d),
          },
        ],
      },
    ];
  });
  matrix.canvas.style.cursor = "pointer";
  matrix.canvas.addEventListener("click", (event) => {
    const at = matrix.at(event);
    const [x, y] = [Math.round(at.x), Math.round(at.y)];
    if (Math.min(x, y) < 0 || Math.max(x, y) >= size) return;
    truth.value = y;
    answer.value = x;
    answer.input.dispatchEvent(new Event("change", { bubbles: true }));
  });

  const gallery = make("div", { className: "snn-gallery" });
  function fillGallery() {
    const found = fits().map((k) => {
      const canvas = picture({ ariaLabel: `image ${numbers[k]}` });
      paint(canvas, (pixel) => image(k)[pixel]);
      return make("div", {}, canvas, `image ${numbers[k]}`);
    });
    gallery.replaceChildren(...found);
  }

  return {
    controls: [[network.element], [truth.element, answer.element]],
    figures: [
      make(
        "div",
        { className: "snn-sides" },
        make("div", { className: "snn-main" }, matrix.canvas),
        make("div", { className: "snn-side" }, gallery),
      ),
    ],
    numbers: () => ({
      counts: counts[network.value],
      count: count(),
      images: fits().map((k) => numbers[k]),
      pixels: fits().map((k) => [...image(k)]),
    }),
    update() {
      matrix.draw();
      fillGallery();
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
