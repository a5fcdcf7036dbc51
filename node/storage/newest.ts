/** The newest packs of some logs in memory: what has just come is asked for by every reader at once. */
import type { HeldPack } from '../../protocols/telemetry/index.ts'

export interface Newest {
  /** `pack` of `log` is on disk. */
  note(log: number, pack: HeldPack): void
  /** Undefined where it is not remembered, or not the newest. */
  get(log: number, seq: number): HeldPack | undefined
}

/** Logs whose newest pack is remembered, two megabytes at most. */
const MAX_LOGS = 64

export function newestPacks(): Newest {
  const known = new Map<number, HeldPack>()
  return {
    note(log, { seq, bytes }) {
      if ((known.get(log)?.seq ?? 0) > seq) return
      known.delete(log)
      known.set(log, { seq, bytes })
      if (known.size <= MAX_LOGS) return
      for (const oldest of known.keys()) {
        known.delete(oldest)
        break
      }
    },
    get(log, seq) {
      const pack = known.get(log)
      return pack?.seq === seq ? pack : undefined
    },
  }
}
