/** Which classes a network takes for which, and the images behind a cell of its confusion matrix. */

import { changed, make, menu } from "./controls.js";
import { element, inflated, SIDE, sum } from "./numbers.js";
import { paint, picture } from "./pad.js";

/**
 * @typedef {{classes: string[], networks: string[], cells: {count: number, shown: number[]}[][], images: string,
 *   numbers: number[], first: [number, number]}} ConfusionData
 *   For each network, by true class times the number of classes plus answer: how many images there are, and which of
 *   the packed ones are shown. `numbers` are those of the deflated images in the test set.
 */

/** @param {number} number */
const whole = (number) => number.toLocaleString("en");

/** @type {import("./view.js").Build<ConfusionData>} */
export const confusion = ({ classes, networks, cells, images, numbers, first }) => {
  const size = classes.length;
  const network = menu("network", networks);
  const truth = menu("true class", classes, first[0]);
  const answer = menu("answer", classes, first[1]);
  const found = () => cells[network.value];
  const chosen = () => truth.value * size + answer.value;
  const total = (/** @type {number} */ row) => sum(element(found(), row, size).map(({ count }) => count));
  let pixels = new Uint8Array();
  const image = (/** @type {number} */ k) => element(pixels, k, SIDE * SIDE);
  const gallery = make("div", { className: "snn-gallery" });
  inflated(images).then((array) => {
    pixels = array;
    changed(table);
  });

  const fields = cells[0].map((_, k) => {
    const choose = () => {
      [truth.value, answer.value] = [Math.floor(k / size), k % size];
      changed(table);
    };
    return make("td", { onclick: choose });
  });
  const names = classes.map((name) => make("th", {}, make("span", { className: "snn-upwards" }, name)));
  const rows = classes.map((name, row) => make("tr", {}, make("th", {}, name), ...element(fields, row, size)));
  const caption = make("caption", {}, "rows: true class; columns: answer");
  const table = make("table", { className: "snn-matrix" }, caption, make("tr", {}, make("td"), ...names), ...rows);

  return {
    controls: [[network], [truth, answer]],
    figures: [make("div", { className: "snn-panels" }, make("div", { className: "snn-wide" }, table), gallery)],
    numbers: () => {
      const { count, shown } = found()[chosen()];
      return { count, images: shown.map((k) => numbers[k]), pixels: shown.map((k) => [...image(k)]) };
    },
    update() {
      for (const [k, field] of fields.entries()) {
        const [{ count }, row] = [found()[k], Math.floor(k / size)];
        // The root makes rare errors visible; what is right is half as strong.
        const share = Math.sqrt(count / Math.max(1, total(row))) / (row === k % size ? 2 : 1);
        field.textContent = count ? `${count}` : "";
        field.style.setProperty("--share", `${Math.round(45 * share)}%`);
        field.ariaCurrent = `${k === chosen()}`;
      }
      const { count, shown } = found()[chosen()];
      const pictures = shown.map((k) => {
        const canvas = picture({ ariaLabel: `image ${numbers[k]}` });
        paint(canvas, (pixel) => image(k)[pixel]);
        return make("div", {}, canvas, `image ${numbers[k]}`);
      });
      gallery.replaceChildren(...pictures);
      const [name, right] = [networks[network.value], truth.value === answer.value];
      const part = `Of ${whole(total(truth.value))} images of the class ${classes[truth.value]}, the network ${name}`;
      const many = count ? whole(count) : "none";
      const what = right ? `gets ${many} right` : `takes ${many} for ${classes[answer.value]}`;
      return `${part} ${what}${count > shown.length ? `. The first ${shown.length} are shown` : ""}.`;
    },
  };
};
