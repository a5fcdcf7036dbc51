/** Moments that can be compared after a restart, also where the wall clock is wrong. */
import { equalBytes } from '../wire/index.ts'

export interface Stamp {
  /** UTC milliseconds by our own clock. */
  readonly wallMs: number
  /** Whole milliseconds since the machine started. */
  readonly monoMs: number
  /** Names that start of the machine; 16 bytes. */
  readonly boot: Uint8Array
  /** The wall clock was set from a time source. */
  readonly synced: boolean
}

export interface Elapsed {
  /** At the least where it is not certain. */
  readonly ms: number
  readonly certain: boolean
}

/**
 * What passed from `since` to `now`. A wall clock counts only over a restart of the machine, and
 * only where it was set from a time source before and after.
 */
export function elapsed(since: Stamp, now: Stamp): Elapsed {
  if (equalBytes(since.boot, now.boot)) {
    return { ms: Math.max(0, now.monoMs - since.monoMs), certain: true }
  }
  const certain = since.synced && now.synced
  const byWallMs = certain ? now.wallMs - since.wallMs : 0
  return { ms: Math.max(now.monoMs, byWallMs), certain }
}
