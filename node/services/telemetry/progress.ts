/** How far each log has been caught up, by what the connected holders say that there is of it. */
import type { LogEvent } from '../../../protocols/telemetry/index.ts'
import { toHex } from '../../../protocols/wire/index.ts'
import type { PackStore } from '../../storage/packs.ts'

/** Of one log: packs that came, of those that there are to be had. */
export interface Progress {
  readonly packs: number
  readonly of: number
}

export interface ProgressBook {
  /** A holder says where a log stands with it. */
  note(peer: Uint8Array, event: LogEvent): void
  /** What this holder has is no longer to be had. */
  forget(peer: Uint8Array): void
  /** Undefined where no connected holder has anything of the log. */
  progress(device: Uint8Array): Progress | undefined
}

type Stand = Pick<LogEvent, 'first' | 'head'>

export function createProgressBook(store: Pick<PackStore, 'head' | 'gaps'>): ProgressBook {
  /** By holder, then by log. */
  const told = new Map<string, Map<string, Stand>>()
  return {
    note(peer, { device, first, head, proof }) {
      // What a proof says of a log means nothing.
      if (proof !== undefined || head < first) return
      const key = toHex(peer)
      const stands = told.get(key) ?? new Map<string, Stand>()
      told.set(key, stands)
      stands.set(toHex(device), { first, head })
    },
    forget: (peer) => void told.delete(toHex(peer)),
    progress(device) {
      const key = toHex(device)
      const stands = [...told.values()].flatMap((one) => one.get(key) ?? [])
      if (stands.length === 0) return undefined
      const first = Math.min(...stands.map((stand) => stand.first))
      const known = store.head(device)
      const head = Math.max(known, ...stands.map((stand) => stand.head))
      const missing = store
        .gaps(device)
        .map(({ from, to }) => Math.max(0, to - Math.max(from, first) + 1))
        .reduce((sum, count) => sum + count, head - Math.max(known, first - 1))
      const of = head - first + 1
      return { packs: of - missing, of }
    },
  }
}
