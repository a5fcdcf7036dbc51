/** Whom a sleeper asks to keep its mail. */
import { toHex } from '../wire/index.ts'
import { BOUNDS } from './protocol.ts'

export interface ParentsChoice {
  /** The parents so far, preferred one first. */
  readonly current: readonly Uint8Array[]
  /** Parents that did not answer the last few times, as hex. */
  readonly dead: ReadonlySet<string>
  /** Powered devices that may hold mail, the one that was connected last first. */
  readonly candidates: readonly Uint8Array[]
}

/**
 * Two parents where there are two. One that answers stays, so that mail does not move; one that died
 * stays only where nobody is there to take its place.
 */
export function chooseParents({ current, dead, candidates }: ParentsChoice): Uint8Array[] {
  const allowed = new Set(candidates.map(toHex))
  const may = current.filter((key) => allowed.has(toHex(key)))
  const live = may.filter((key) => !dead.has(toHex(key)))
  const named = new Set(may.map(toHex))
  const fresh = candidates.filter((key) => !named.has(toHex(key)) && !dead.has(toHex(key)))
  const chosen = [...live, ...fresh.slice(0, Math.max(0, BOUNDS.holders - live.length))]
  const missing = Math.max(0, BOUNDS.holders - chosen.length)
  const rest = may.filter((key) => dead.has(toHex(key))).slice(0, missing)
  return [...chosen, ...rest].slice(0, BOUNDS.maxParents)
}
