/**
 * Readings as one SenML pack in JSON (RFC 8428), a record a line. A summary becomes a record for each
 * of its numbers; a gap becomes a record `kith:gap` at its beginning, with its length in seconds. How
 * many readings have no date, which SenML has no word for, is a record `kith:unplaced` at the end. All
 * names are whole, so that each record stands for itself.
 */
import { baseName, unitKind } from '../../protocols/telemetry/index.ts'
import type { HistoryRow } from '../api/view.ts'

/** SenML version 10 with the feature "secondary units" (RFC 9100 section 4). */
const VERSION_SECONDARY_UNITS = 26
/** Records that wait to see whether a unit is secondary, for the first record says so. */
const MAX_HELD = 50_000
const NUMBERS = ['min', 'mean', 'max', 'last', 'count'] as const

interface SenmlRecord {
  readonly n: string
  readonly u?: string
  readonly v: number
  /** Seconds since 1970 UTC. */
  readonly t: number
}

export interface SenmlAbout {
  /** The peer id whose gaps these are. */
  readonly device: string
  /** How many readings have no date; asked for at the end. */
  readonly unplaced: () => Promise<number>
  /** UTC milliseconds. */
  readonly now: number
}

export async function* senmlLines(
  rows: AsyncIterable<HistoryRow>,
  { device, unplaced, now }: SenmlAbout,
): AsyncGenerator<string> {
  const held: SenmlRecord[] = []
  let before = '['
  const line = (record: SenmlRecord, version?: number): string => {
    const head = version === undefined ? {} : { bver: version }
    const text = `${before}\n${JSON.stringify({ ...head, ...record })}`
    before = ','
    return text
  }
  const release = function* (secondary: boolean): Generator<string> {
    for (const [i, record] of held.splice(0).entries()) {
      yield line(record, i === 0 && secondary ? VERSION_SECONDARY_UNITS : undefined)
    }
  }
  let released = false
  for await (const row of rows) {
    for (const record of recordsOf(row, device)) {
      if (released) {
        yield line(record)
        continue
      }
      held.push(record)
      const secondary = isSecondary(record)
      // What is not seen yet may have one: saying so without need is allowed.
      if (!secondary && held.length < MAX_HELD) continue
      released = true
      yield* release(true)
    }
  }
  yield* release(false)
  const count = await unplaced()
  if (count > 0) {
    yield line({ n: `${baseName(device)}kith:unplaced`, u: 'count', v: count, t: now / 1000 })
  }
  yield before === '[' ? '[]\n' : '\n]\n'
}

function isSecondary({ u }: SenmlRecord): boolean {
  return u !== undefined && unitKind(u) === 'secondary'
}

function recordsOf(row: HistoryRow, device: string): SenmlRecord[] {
  if ('gap' in row) {
    const { from, to } = row.gap
    return [{ n: `${baseName(device)}kith:gap`, u: 's', v: (to - from) / 1000, t: from / 1000 }]
  }
  const { sensor, unit, value, at } = row
  const n = `${baseName(row.device)}${sensor}`
  const t = at / 1000
  const u = unit === '' ? {} : { u: unit }
  if (!('count' in row)) return [{ n, ...u, v: value, t }]
  return NUMBERS.map((name) => ({
    n: `${n}:${name}`,
    ...(name === 'count' ? { u: 'count' } : u),
    v: row[name],
    t,
  }))
}
