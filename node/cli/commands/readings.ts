/** Sensors of this device, live readings and kept ones. */
import type {
  HistoryQuery,
  HistoryRow,
  SensorReader,
  SensorView,
  Summary,
  UnplacedReading,
} from '../../api/view.ts'
import { parseDuration } from '../../config-values.ts'
import { NodeError } from '../../errors.ts'
import { printable } from '../../printable.ts'
import { isTimeout, type Cli } from '../context.ts'
import { CSV_HEADER, csvRow } from '../csv.ts'
import { dateText, logText, readingText, table, unplacedText } from '../print.ts'
import { valueText } from '../values.ts'

export async function sensors(cli: Cli): Promise<void> {
  const rows = await cli.client.sensors()
  cli.result(rows, () =>
    rows.length === 0
      ? 'This device has no sensors.'
      : table(
          ['SENSOR', 'ON', 'VALUE', 'READERS', 'WHAT'],
          rows.map(({ name, on, value, unit, readers, description }) => [
            name,
            on ? 'on' : 'off',
            value === null ? '-' : valueText(value, unit),
            readersText(readers),
            description,
          ]),
        ),
  )
  if (rows.length > 0 && rows.every(({ on }) => !on)) {
    cli.note(
      'All are off, so this device measures nothing. To switch one on: kith sensors enable NAME',
    )
  }
}

/** By name; with the role of those who read by something else than it. */
function readersText(readers: readonly SensorReader[]): string {
  if (readers.length === 0) return 'nobody else'
  return readers
    .map(({ name, role, through }) => (through === 'role' ? name : `${name} (${role})`))
    .join(', ')
}

export function enable(cli: Cli, names: readonly string[]): Promise<void> {
  return setSensors(cli, names, true)
}

export function disable(cli: Cli, names: readonly string[]): Promise<void> {
  return setSensors(cli, names, false)
}

/** All of them or, where a name is wrong, none. */
async function setSensors(cli: Cli, names: readonly string[], on: boolean): Promise<void> {
  const known = new Set((await cli.client.sensors()).map(({ name }) => name))
  const wrong = names.find((name) => !known.has(name))
  if (wrong !== undefined) {
    throw new NodeError('NODE_NOT_FOUND', `This device has no sensor "${wrong}".`, {
      hint: 'Nothing was changed. See its sensors with: kith sensors',
    })
  }
  const rows: SensorView[] = []
  for (const name of names) rows.push(await cli.client.setSensor(name, on))
  cli.result(rows, () =>
    rows.map((row) => `${printable(row.name)} is ${row.on ? 'on' : 'off'}.`).join('\n'),
  )
}

/** Until Ctrl-C or --timeout, which is its ordinary end once it has shown something. */
export async function watch(cli: Cli, target: string | undefined): Promise<void> {
  let seen = false
  const cancel = cli.clock.timer(QUIET_MS, () => {
    if (!seen) cli.note(`No reading yet. ${HOW_TO_MEASURE}`)
  })
  try {
    const { device, ...query } = parseTarget(target)
    await noteBehind(cli, device)
    for await (const reading of cli.client.watch({ device, ...query }, cli.signal)) {
      seen = true
      cli.row(reading, () => readingText(reading))
    }
  } catch (error) {
    if (!isTimeout(cli.signal.reason)) throw error
    if (!seen) throw noReading()
  } finally {
    cancel()
  }
}

/** Newest first is what a watcher sees; older readings that are still on the way it does not. */
async function noteBehind(cli: Cli, device: string | undefined): Promise<void> {
  const rows = device === undefined ? await cli.client.devices() : [await cli.client.device(device)]
  for (const { name, log } of rows) {
    if (log !== undefined && log.packs < log.of) {
      cli.note(`The log of ${printable(name)}: ${logText(log)}.`)
    }
  }
}

/** Longer than the usual interval of a sensor. */
const QUIET_MS = 12_000
const HOW_TO_MEASURE =
  'Sensors are off until they are switched on, on the device itself: kith sensors enable NAME'

function noReading(): NodeError {
  return new NodeError('NODE_TIMEOUT', 'No reading came in that time.', { hint: HOW_TO_MEASURE })
}

interface HistoryOptions {
  readonly since?: string
  readonly until?: string
  readonly every?: string
  readonly csv?: boolean
  readonly senml?: boolean
}

export async function history(cli: Cli, target: string, options: HistoryOptions): Promise<void> {
  const { device, sensor } = parseTarget(target)
  const now = cli.clock.now()
  const query = {
    device: device ?? '',
    sensor,
    since: parseTime(options.since, now),
    until: parseTime(options.until, now),
    everyMs: parseEvery(options.every),
  }
  if (options.senml === true) return historySenml(cli, query)
  const csv = options.csv === true && !cli.options.json
  if (csv) cli.row(undefined, () => CSV_HEADER)
  let rows = 0
  for await (const row of cli.client.history(query, cli.signal)) {
    rows += 1
    cli.row(row, () => (csv ? csvRow(row) : historyText(row)))
  }
  // Whatever span was asked for: nobody knows that they are not of it.
  const { device: ref } = query
  for await (const row of cli.client.unplaced({ device: ref, sensor }, cli.signal)) {
    rows += 1
    cli.row(row, () => (csv ? csvRow(row) : unplacedText(row)))
  }
  if (rows === 0)
    cli.note('No readings are kept of that. What the device measures: kith sensors, there')
}

/** One JSON document, with --json or without. */
async function historySenml(cli: Cli, query: HistoryQuery): Promise<void> {
  const { senmlLines } = await import('../senml.ts')
  const { id } = await cli.client.device(query.device)
  const { device, sensor } = query
  const unplaced = (): Promise<number> =>
    countOf(cli.client.unplaced({ device, sensor }, cli.signal))
  const rows = cli.client.history(query, cli.signal)
  for await (const text of senmlLines(rows, { device: id, unplaced, now: cli.clock.now() })) {
    cli.raw(text)
  }
}

async function countOf(rows: AsyncIterable<UnplacedReading>): Promise<number> {
  let count = 0
  for await (const _ of rows) count += 1
  return count
}

function historyText(row: HistoryRow): string {
  if ('gap' in row) return `${dateText(row.gap.from)}  gap until ${dateText(row.gap.to)}`
  return 'count' in row ? summaryText(row) : readingText(row)
}

function summaryText(row: Summary): string {
  const show = (value: number): string => printable(valueText(value, row.unit))
  const facts = `min ${show(row.min)}  max ${show(row.max)}  last ${show(row.last)}  of ${row.count}`
  return `${readingText(row)}  ${facts}`
}

/** `garden/temperature` into its two parts; a device's name has no slash here. */
export function parseTarget(target: string | undefined): { device?: string; sensor?: string } {
  if (target === undefined) return {}
  const [device = '', ...rest] = target.split('/')
  const sensor = rest.join('/')
  if (device === '') throw new NodeError('NODE_USAGE', `"${target}" names no device.`)
  return sensor === '' ? { device } : { device, sensor }
}

/** "2h" (back from now), or a date that JavaScript knows. @throws NodeError NODE_USAGE */
export function parseTime(text: string | undefined, now: number): number | undefined {
  if (text === undefined) return undefined
  const back = parseDuration(text)
  const at = back === undefined ? Date.parse(text) : now - back
  if (Number.isSafeInteger(at) && at >= 0) return at
  throw new NodeError('NODE_USAGE', `"${text}" is no time.`, {
    hint: 'Write a duration back from now, like 2h, or a date, like 2027-01-15T08:00',
  })
}

function parseEvery(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const ms = parseDuration(text)
  if (ms !== undefined && ms >= 1000) return ms
  throw new NodeError('NODE_USAGE', `--every ${text} is no duration of a second or more.`)
}
