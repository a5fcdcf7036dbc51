/**
 * Packs that are missing below others that came: how long they are waited for, and which of those
 * that were given up came after all.
 */
import type { Clock } from '../env.ts'
import { toHex } from '../../protocols/wire/index.ts'
import type { SeqRange } from '../../protocols/telemetry/index.ts'
import type { Telemetry } from '../services/telemetry/index.ts'

export interface Holes {
  /** Whether pack `seq` of a log may still come before others are handed out. */
  mayFill(device: Uint8Array, seq: number): boolean
  /** These are waited for no longer. */
  give(device: Uint8Array, range: SeqRange): void
  /** A pack came. */
  note(pack: { readonly device: Uint8Array; readonly seq: number }): void
  /** Numbers that were given up and came since, each once. */
  filled(device: Uint8Array): readonly number[]
}

/** History that does not get on for so long is not waited for. */
const STALLED_MS = 10_000
/** Ranges that were given up in one log, the newest. */
const MAX_GIVEN = 64

interface Stall {
  readonly seq: number
  readonly packs: number
  readonly sinceMs: number
}

export function createHoles(
  telemetry: Pick<Telemetry, 'progress'>,
  clock: Pick<Clock, 'monotonic'>,
): Holes {
  const stalls = new Map<string, Stall>()
  const given = new Map<string, SeqRange[]>()
  const late = new Map<string, Set<number>>()
  return {
    mayFill(device, seq) {
      const progress = telemetry.progress(device)
      // Nobody who is connected has more of this log.
      if (progress !== undefined && progress.packs >= progress.of) return false
      const key = toHex(device)
      const packs = progress?.packs ?? 0
      const before = stalls.get(key)
      if (before?.seq !== seq || before.packs !== packs) {
        stalls.set(key, { seq, packs, sinceMs: clock.monotonic() })
        return true
      }
      return clock.monotonic() - before.sinceMs < STALLED_MS
    },
    give(device, range) {
      const key = toHex(device)
      given.set(key, [...(given.get(key) ?? []), range].slice(-MAX_GIVEN))
    },
    note({ device, seq }) {
      const key = toHex(device)
      const isGiven = given.get(key)?.some(({ from, to }) => from <= seq && seq <= to) ?? false
      if (isGiven) late.set(key, (late.get(key) ?? new Set()).add(seq))
    },
    filled(device) {
      const key = toHex(device)
      const numbers = [...(late.get(key) ?? [])].toSorted((a, b) => a - b)
      late.delete(key)
      return numbers
    },
  }
}
