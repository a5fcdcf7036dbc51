/** The readings side of `NodeView`: sensors, live readings, history. */
import { keyOfPeerId, peerIdOf } from '../../protocols/identity/index.ts'
import { FLAGS } from '../../protocols/telemetry/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import { resolveDevice } from '../api/device-ref.ts'
import type {
  HistoryQuery,
  HistoryRow,
  NodeView,
  SensorView,
  UnplacedReading,
} from '../api/view.ts'
import { NodeError } from '../errors.ts'
import { unplacedRows } from '../storage/unplaced-rows.ts'
import type { DeviceBase } from './base.ts'
import type { Home } from './home.ts'
import { readersOf } from './readers.ts'
import { deviceRows } from './rows.ts'

type ReadingsView = Pick<
  NodeView,
  'sensors' | 'setSensor' | 'push' | 'watch' | 'history' | 'unplaced'
>

/** Rows asked of the disk at a time. */
const PAGE_ROWS = 1000
/** As many as one question may bring, for moments with more readings than a page has rows. */
const MAX_PAGE_ROWS = 10_000

export function readingsView(base: DeviceBase, requireHome: () => Home): ReadingsView {
  const keyOf = (home: Home, ref: string): Uint8Array =>
    keyOfPeerId(resolveDevice(ref, deviceRows(base, home)).id)

  return {
    async sensors() {
      return sensorRows(base, requireHome())
    },

    async setSensor(name, on) {
      const home = requireHome()
      if (!home.telemetry.setEnabled(name, on)) {
        throw new NodeError('NODE_NOT_FOUND', `This device has no sensor "${name}".`, {
          hint: 'See its sensors with: kith sensors',
        })
      }
      base.sensorChoices.set(name, on)
      const row = sensorRows(base, home).find((sensor) => sensor.name === name)
      if (row === undefined) throw new NodeError('NODE_NOT_FOUND', `"${name}" is gone.`)
      return row
    },

    async push(values) {
      requireHome().telemetry.push(values)
    },

    async *watch({ device: ref, sensor }, signal) {
      const home = requireHome()
      const device = ref === undefined ? undefined : keyOf(home, ref)
      for await (const live of home.telemetry.watch({ device, sensor }, signal)) {
        if (typeof live.value !== 'number') continue
        yield {
          device: peerIdOf(live.device),
          name: nameOf(home, live.device),
          sensor: live.sensor,
          value: live.value,
          unit: live.unit ?? '',
          at: live.atMs,
          seq: live.seq,
          verified: live.verified,
          ...(live.source === undefined ? {} : { source: live.source }),
        }
      }
    },

    async *history(query, signal) {
      const home = requireHome()
      const device = keyOf(home, query.device)
      const toRow = rowFor(home, device)
      for (const row of pages(home, device, query, base.clock.now())) {
        if (signal.aborted) return
        const shown = toRow(row)
        if (shown !== undefined) yield shown
      }
    },

    async *unplaced({ device: ref, sensor }, signal) {
      const home = requireHome()
      for (const row of undated(base, home, keyOf(home, ref))) {
        if (signal.aborted) return
        if ((sensor ?? row.sensor) === row.sensor) yield row
      }
    },
  }
}

function* undated(base: DeviceBase, home: Home, device: Uint8Array): Generator<UnplacedReading> {
  const who = { device: peerIdOf(device), name: nameOf(home, device) }
  for (const row of unplacedRows(base.db, device)) {
    const { bootId, flags, sensor, seq, sinceStartMs, unit = '', value } = row
    if (typeof value !== 'number') continue
    const verified = (flags & FLAGS.quarantined) === 0
    const unplaced = { boot: toHex(bootId), sinceStartMs }
    yield { ...who, sensor, value, unit, seq, verified, unplaced }
  }
}

function sensorRows(base: DeviceBase, home: Home): SensorView[] {
  return home.telemetry.sensors().map(({ name, unit, on, value, description, problem }) => ({
    name,
    unit: unit ?? '',
    on,
    value: typeof value === 'number' ? value : null,
    description: problem === undefined ? description : `${description} (${problem})`,
    readers: readersOf(base, home, name),
  }))
}

function nameOf({ members }: Home, key: Uint8Array): string {
  const hex = toHex(key)
  return members.state.devices.get(hex)?.name ?? members.state.removed.get(hex)?.name ?? ''
}

type StoredRow = ReturnType<Home['telemetry']['history']>[number]

/** All rows, oldest first; raw readings are read page by page, so that memory stays flat. */
function* pages(
  { telemetry }: Home,
  device: Uint8Array,
  { sensor, since = 0, until, everyMs }: HistoryQuery,
  nowMs: number,
): Generator<StoredRow, void, undefined> {
  const asked = { device, sensor, untilMs: until ?? nowMs + 1 }
  if (everyMs !== undefined) {
    yield* telemetry.history({ ...asked, sinceMs: since, everyMs })
    return
  }
  // Every page brings all gaps that are not before it.
  const gaps = new Set<number>()
  const fresh = (row: StoredRow): boolean => {
    if (row.kind !== 'gap') return true
    if (gaps.has(row.from)) return false
    gaps.add(row.from)
    return true
  }
  let limit = PAGE_ROWS
  for (let sinceMs = since; ;) {
    const rows = telemetry.history({ ...asked, sinceMs, limit })
    const times = rows.flatMap((row) => (row.kind === 'reading' ? [row.atMs] : []))
    const last = times.at(-1)
    if (last === undefined || times.length < limit) {
      yield* rows.filter(fresh)
      return
    }
    if (times[0] === last && limit < MAX_PAGE_ROWS) {
      limit = MAX_PAGE_ROWS
      continue
    }
    // Readings of one moment stay together: the last moment of a full page begins the next one.
    const end = times[0] === last ? last + 1 : last
    yield* rows.filter((row) => placeOf(row) < end && fresh(row))
    sinceMs = end
    limit = PAGE_ROWS
  }
}

/** Where a row stands in time; a gap right after the reading before it. */
function placeOf(row: StoredRow): number {
  return row.kind === 'gap' ? (row.afterMs ?? row.beforeMs - 1) : row.atMs
}

function rowFor(home: Home, device: Uint8Array): (row: StoredRow) => HistoryRow | undefined {
  const who = { device: peerIdOf(device), name: nameOf(home, device) }
  return (row) => {
    // From the last reading before it to the first one after it.
    if (row.kind === 'gap') return { gap: { from: row.afterMs ?? row.beforeMs, to: row.beforeMs } }
    const { sensor, unit = '', atMs: at } = row
    const { source } = row
    const told = source === undefined ? { verified: true } : { verified: false, source }
    if (row.kind === 'bucket') {
      const { everyMs, min, mean, max, last, count } = row
      const facts = { everyMs, min, mean, max, last, count }
      return { ...who, sensor, value: mean, unit, at, seq: 0, ...told, ...facts }
    }
    const { value, seq, flags } = row
    if (typeof value !== 'number') return undefined
    const facts = (flags & FLAGS.quarantined) === 0 ? told : { verified: false }
    return { ...who, sensor, value, unit, at, seq, ...facts }
  }
}
