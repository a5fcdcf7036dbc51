/**
 * When readings were taken. A pack says it by the device's wall clock, or, where that was not set,
 * only how long before the pack was sealed; then any pack of the same boot that was made once the
 * clock had been set tells when that was. SPEC.md "Times".
 */
import type { Pack } from './pack.ts'
import { BOUNDS, FLAGS } from './protocol.ts'
import { clampMs, RELATIVE_BELOW_MS } from './senml.ts'

type Timed = Pick<Pack, 'clock' | 'mono' | 'born' | 'readings'>

/** What a receiver knows about time when a pack comes. */
export interface Receipt {
  /** UTC milliseconds by the receiver's clock. */
  readonly receivedAtMs: number
  /** The receiver's own clock is not set: it judges nobody's times. */
  readonly clockUnset?: boolean | undefined
  /** `born` of another pack of the same boot; undefined where none is known. */
  readonly bornMs?: number | undefined
}

const HOUR_MS = 3_600_000

/**
 * UTC milliseconds of each reading as the log itself tells it; undefined where it does not yet. All
 * who hold the log compute the same.
 */
export function timesOf(pack: Timed, bornMs?: number): readonly number[] | undefined {
  const born = pack.born ?? bornMs
  if (born === undefined) return undefined
  const sealedMs = born + pack.mono
  return pack.readings.map(({ atMs }) =>
    atMs < RELATIVE_BELOW_MS ? clampMs(sealedMs + atMs) : atMs,
  )
}

/**
 * The times to file readings under, and which of `FLAGS` that brings. The log's own times, unless one
 * of them cannot be right by the receiver's clock: then the newest reading counts as just received,
 * and the others keep their distance to it where all lie within an hour. Times that were worked out
 * are not touched, only flagged. Without any, they are an estimate to show, not to keep.
 */
export function trustedTimes(
  pack: Timed,
  { receivedAtMs, clockUnset = false, bornMs }: Receipt,
): { readonly times: readonly number[]; readonly flags: number } {
  const told = timesOf(pack, bornMs)
  if (told === undefined) {
    const times = pack.readings.map(({ atMs }) => clampMs(receivedAtMs + atMs))
    return { times, flags: FLAGS.unplaced }
  }
  const placed = pack.clock === 'unset' ? FLAGS.placed : 0
  const { oldest, newest } = spanOf(told)
  const plausible =
    clockUnset ||
    (newest <= receivedAtMs + BOUNDS.maxAheadMs && oldest >= receivedAtMs - BOUNDS.maxBehindMs)
  if (plausible) return { times: told, flags: placed }
  if (placed !== 0) return { times: told, flags: placed | FLAGS.clockImplausible }
  const keepDistance = newest - oldest <= HOUR_MS
  const times = told.map((atMs) => (keepDistance ? receivedAtMs - (newest - atMs) : receivedAtMs))
  return { times, flags: FLAGS.clockImplausible }
}

function spanOf(times: readonly number[]): { oldest: number; newest: number } {
  let oldest = Infinity
  let newest = -Infinity
  for (const atMs of times) {
    if (atMs < oldest) oldest = atMs
    if (atMs > newest) newest = atMs
  }
  return { oldest, newest }
}
