/**
 * Causal pasts as bit sets over positions. An op's position is above those of all its parents, so
 * its past fits in the words up to its own position: 5,000 ops take 1.6 MB and a question one word.
 */

/** The past of the op at `index`, itself included. */
export function pastOf(index: number, parents: readonly Uint32Array[]): Uint32Array {
  const past = new Uint32Array((index >>> 5) + 1)
  for (const parent of parents) addPast(past, parent)
  past[index >>> 5] = (past[index >>> 5] ?? 0) | (1 << (index & 31))
  return past
}

/** Whether the op at `index` is in `past`. */
export function covers(past: Uint32Array, index: number): boolean {
  return ((past[index >>> 5] ?? 0) & (1 << (index & 31))) !== 0
}

/** Add all of `other` to `past`, which is at least as long. */
export function addPast(past: Uint32Array, other: Uint32Array): void {
  for (let i = 0; i < other.length; i++) past[i] = (past[i] ?? 0) | (other[i] ?? 0)
}
