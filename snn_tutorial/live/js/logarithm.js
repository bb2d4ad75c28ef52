/** Ticks of logarithmic axes. */

/** Digits of exponents. */
const RAISED = "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079";

/**
 * Return the numbers of a logarithmic axis between 10 ** low and 10 ** high: powers of ten, or, of few, more.
 * @param {number} low
 * @param {number} high
 * @returns {[number, string][]}
 */
export function logTicks(low, high) {
  const hasPowers = high - low > 1.2;
  /** @type {[number, string][]} */
  const found = [];
  for (let power = Math.floor(low); power <= high; power++) {
    for (const times of hasPowers ? [1] : [1, 2, 5]) {
      const place = Math.log10(times) + power;
      const digits = `${power}`.replace("-", "\u207b").replace(/\d/g, (digit) => RAISED[Number(digit)]);
      const name = hasPowers ? `10${digits}` : `${Number(`${times}e${power}`)}`;
      if (place >= low && place <= high) found.push([place, name]);
    }
  }
  return found;
}
