/**
 * Which chunks a device has: bits in code, run lengths on the wire. Bit n of a set is bit n mod 8,
 * from the least, of byte n / 8. SPEC.md "Have".
 */
import { UpdateError } from './protocol.ts'

export function hasBit(bits: Uint8Array, n: number): boolean {
  return (((bits[n >> 3] ?? 0) >> (n & 7)) & 1) === 1
}

export function setBit(bits: Uint8Array, n: number): void {
  bits[n >> 3] = (bits[n >> 3] ?? 0) | (1 << (n & 7))
}

/** How many of the first `count` bits are set. */
export function countBits(bits: Uint8Array, count: number): number {
  let sum = 0
  for (let n = 0; n < count; n++) if (hasBit(bits, n)) sum++
  return sum
}

/** Lengths of what is missing and what is there, in turn, to the last one that is there. */
export function runsOfBits(bits: Uint8Array, count: number): number[] {
  const runs: number[] = []
  let have = false
  let length = 0
  for (let n = 0; n < count; n++) {
    if (hasBit(bits, n) !== have) {
      runs.push(length)
      have = !have
      length = 0
    }
    length++
  }
  if (have) runs.push(length)
  return runs
}

/**
 * The set of an index with `count` chunks.
 *
 * @throws UpdateError UPDATE_BAD_NUMBER where the runs go beyond it, or could be said shorter
 */
export function bitsOfRuns(runs: readonly number[], count: number): Uint8Array {
  const bits = new Uint8Array(Math.ceil(count / 8))
  if (runs.length % 2 !== 0) throw new UpdateError('UPDATE_BAD_NUMBER', 'runs')
  let at = 0
  for (const [i, length] of runs.entries()) {
    if (length > count - at || (length === 0 && i > 0)) {
      throw new UpdateError('UPDATE_BAD_NUMBER', 'runs')
    }
    if (i % 2 === 1) for (let n = at; n < at + length; n++) setBit(bits, n)
    at += length
  }
  return bits
}
