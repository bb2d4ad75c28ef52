/** Arrays of bytes within a view's data, as `packed` and `deflated` in Python write them. */

/**
 * Return the bytes of base64, in the order of the array in memory (the last axis changes fastest).
 * @param {string} packed
 */
export function bytes(packed) {
  return Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
}

/**
 * Return the bytes that were deflated before.
 * @param {string} packed
 */
export async function inflated(packed) {
  const stream = new Blob([bytes(packed)]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
