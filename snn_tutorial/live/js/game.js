/** A game: name an image of which only the first columns are visible, against a classifier that sees the same columns. */

import { Chart, raster } from "./chart.js";
import { button, changed, make } from "./controls.js";
import { bytes, columnsOf, element, SIDE, sum } from "./numbers.js";

/**
 * @typedef {{images: string, labels: number[], classes: string[], rounds: {columns: number, answers: number[]}[]}} GameData
 *   `images` [n, 28, 28] are packed. In each round of an image more columns are visible; `answers` [n] are the classifier's.
 */

/** How dark columns are that are still to come. */
const LATER = 0.25;

/** @type {import("./view.js").Build<GameData>} */
export const game = ({ images, labels, classes, rounds }) => {
  const pixels = bytes(images);
  /** What the reader has answered, for each image and round. @type {number[][]} */
  const given = [[]];
  const now = () => given[given.length - 1];
  const place = () => given.length - 1;
  const isOver = () => now().length === rounds.length;
  const seen = () => (isOver() ? SIDE : rounds[now().length].columns);
  /** What is shown of the image, column by column. */
  const shown = () =>
    columnsOf(element(pixels, place(), SIDE * SIDE)).map((column, x) =>
      x < seen() ? column : column.map(() => LATER),
    );
  const { canvas } = new Chart("the columns of the image so far", (width) => [
    raster(shown(), { height: Math.min(210, width), isSquare: true, isBare: true }),
  ]);
  const choices = classes.map((name, label) =>
    button(name, () => {
      now().push(label);
      changed(canvas);
    }),
  );
  const next = button("next image", () => {
    if (given.length === labels.length) given.length = 0;
    given.push([]);
    changed(canvas);
  });
  const table = make("table", { ariaLabel: "right answers after so many columns" });

  /** How often both were right after a round, of so many images. @param {number} round */
  function score(round) {
    const played = given
      .map((answers, k) => ({ answer: answers[round], k }))
      .filter(({ answer }) => answer !== undefined);
    const yours = sum(played.map(({ answer, k }) => Number(answer === labels[k])));
    const its = sum(played.map(({ k }) => Number(rounds[round].answers[k] === labels[k])));
    return { yours, its, of: played.length };
  }

  return {
    controls: [],
    figures: [
      make("div", { className: "snn-panels" }, canvas, make("div", { className: "snn-row" }, ...choices, next), table),
    ],
    numbers: () => ({ given, shown: shown(), scores: rounds.map((_, round) => score(round)) }),
    update() {
      next.hidden = !isOver();
      for (const [label, one] of choices.entries()) {
        one.disabled = isOver();
        one.classList.toggle("best", isOver() && label === labels[place()]);
      }
      const cell = (/** @type {string} */ text) => make("td", {}, text);
      const rows = rounds.map(({ columns }, round) => {
        const { yours, its, of } = score(round);
        return make("tr", {}, cell(`${columns}`), cell(`${yours} of ${of}`), cell(`${its} of ${of}`));
      });
      table.replaceChildren(make("tr", {}, ...["columns", "you", "classifier"].map(cell)), ...rows);
      if (!isOver()) return `Image ${place() + 1}: you see ${seen()} of 28 columns. What is it?`;
      const machine = rounds.map(({ answers }) => classes[answers[place()]]).join(", ");
      const yours = now()
        .map((label) => classes[label])
        .join(", ");
      return `It is: ${classes[labels[place()]]}. You said ${yours}; the classifier ${machine}.`;
    },
  };
};
