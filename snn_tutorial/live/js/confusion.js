/** Which classes a network takes for which, and the images behind a cell of its confusion matrix. */

import { changed, make, menu } from "./controls.js";
import { element, inflated, range, SIDE, sum } from "./numbers.js";
import { paint, picture } from "./pad.js";

/**
 * @typedef {{classes: string[], networks: string[], counts: number[][], shown: number[][][], images: string,
 *   numbers: number[], first: [number, number]}} ConfusionData
 *   For each network, by true class times the number of classes plus answer: how many images there are, and which of
 *   the packed ones are shown. `numbers` are those of the deflated images in the test set.
 */

/** @param {number} number */
const whole = (number) => number.toLocaleString("en");

/** @type {import("./view.js").Build<ConfusionData>} */
export const confusion = ({ classes, networks, counts, shown, images, numbers, first }) => {
  const size = classes.length;
  const network = menu("network", networks);
  const truth = menu("true class", classes, first[0]);
  const answer = menu("answer", classes, first[1]);
  const all = range(size);
  const totals = all.map((row) => sum(counts[0].slice(row * size, (row + 1) * size)));
  const cell = () => truth.value * size + answer.value;
  const fits = () => shown[network.value][cell()];
  let pixels = new Uint8Array();
  const image = (/** @type {number} */ k) => element(pixels, k, SIDE * SIDE);
  const table = make("table", { className: "snn-matrix" }, make("caption", {}, "rows: true class; columns: answer"));
  const gallery = make("div", { className: "snn-gallery" });
  inflated(images).then((found) => {
    pixels = found;
    changed(table);
  });

  const names = classes.map((name) => make("th", {}, make("span", { className: "snn-upwards" }, name)));
  table.append(make("tr", {}, make("td"), ...names));
  const cells = all.flatMap((row) => {
    const found = all.map((column) => {
      const choose = () => {
        [truth.value, answer.value] = [row, column];
        changed(table);
      };
      return make("td", { onclick: choose });
    });
    table.append(make("tr", {}, make("th", {}, classes[row]), ...found));
    return found;
  });

  return {
    controls: [[network], [truth, answer]],
    figures: [make("div", { className: "snn-panels" }, make("div", { className: "snn-wide" }, table), gallery)],
    numbers: () => ({
      ...{ counts: counts[network.value], count: counts[network.value][cell()] },
      images: fits().map((k) => numbers[k]),
      pixels: fits().map((k) => [...image(k)]),
    }),
    update() {
      for (const [k, one] of cells.entries()) {
        const [n, row] = [counts[network.value][k], Math.floor(k / size)];
        // The root makes rare errors visible; what is right is half as strong.
        const share = Math.sqrt(n / Math.max(1, totals[row])) / (row === k % size ? 2 : 1);
        one.textContent = n ? `${n}` : "";
        one.style.setProperty("--share", `${Math.round(45 * share)}%`);
        one.ariaCurrent = `${k === cell()}`;
      }
      const pictures = fits().map((k) => {
        const canvas = picture({ ariaLabel: `image ${numbers[k]}` });
        paint(canvas, (pixel) => image(k)[pixel]);
        return make("div", {}, canvas, `image ${numbers[k]}`);
      });
      gallery.replaceChildren(...pictures);
      const [n, seen, name] = [counts[network.value][cell()], fits().length, networks[network.value]];
      const part = `Of ${whole(totals[truth.value])} images of the class ${classes[truth.value]}, the network ${name}`;
      const found = n ? whole(n) : "none";
      const what = truth.value === answer.value ? `gets ${found} right` : `takes ${found} for ${classes[answer.value]}`;
      return `${part} ${what}${n > seen ? `. The first ${seen} are shown` : ""}.`;
    },
  };
};
