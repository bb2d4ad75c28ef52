/** Arrays within a view's data. Of several axes, the last changes fastest. */

/**
 * Return the bytes that `packed` in Python has written.
 * @param {string} packed
 */
export function bytes(packed) {
  return Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
}

/**
 * Return the numbers that `floats` in Python has written.
 * @param {string} packed
 */
export const floats = (packed) => new Float32Array(bytes(packed).buffer);

/**
 * Return the bytes that `deflated` in Python has written.
 * @param {string} packed
 */
export async function inflated(packed) {
  const stream = new Blob([bytes(packed)]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
