/** Arrays: those within a view's data, of which the last axis changes fastest, and what all views do with numbers. */

/** Pixels of a side of a picture. */
export const SIDE = 28;

/**
 * Return the bytes that `packed` in Python has written.
 * @param {string} packed
 */
export const bytes = (packed) => Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));

/** Return the bits that numpy has packed. @param {string} packed */
export const bits = (packed) =>
  Float32Array.from([...bytes(packed)].flatMap((byte) => range(8).map((k) => (byte >> (7 - k)) & 1)));

/**
 * Return the numbers that `floats` in Python has written.
 * @param {string} packed
 */
export const floats = (packed) => new Float32Array(bytes(packed).buffer);

/**
 * Return numbers that Python has packed in half precision.
 * @param {string} packed
 */
export const halves = (packed) =>
  Float32Array.from(new Uint16Array(bytes(packed).buffer), (word) => {
    const [exponent, fraction] = [(word >> 10) & 31, word & 1023];
    const size = exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24;
    return word >> 15 ? -size : size;
  });

/**
 * Return the bytes that `packed` in Python has deflated.
 * @param {string} packed
 */
export async function inflated(packed) {
  const stream = new Blob([bytes(packed)]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/**
 * Return the part of an array in which element `k` of its first axis lies.
 * @template {{slice: (from: number, to: number) => unknown}} A
 * @param {A} array
 * @param {number} k
 * @param {number} size  of such an element
 */
export const element = (array, k, size) => /** @type {A} */ (array.slice(k * size, (k + 1) * size));

/** @param {number} count */
export const range = (count) => Array.from({ length: count }, (_, k) => k);

/**
 * Return the columns of a picture, in [0, 1].
 * @param {ArrayLike<number>} pixels  from 0 to 255, row by row
 * @param {number} [rows]
 */
export const columnsOf = (pixels, rows = SIDE) => {
  const width = pixels.length / rows;
  return range(width).map((x) => range(rows).map((y) => pixels[y * width + x] / 255));
};

/** @param {ArrayLike<number>} values */
export const sum = (values) => Array.from(values).reduce((a, b) => a + b, 0);

/** Return the place of the largest value. @param {ArrayLike<number>} values */
export const largest = (values) => Array.from(values).indexOf(Math.max(...Array.from(values)));

/** @param {number} count @param {string} what */
export const counted = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;

/** @param {number} share @param {number} [digits] */
export const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)}\u00a0%`;
