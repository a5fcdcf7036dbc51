/**
 * Readings as SenML records in CBOR (RFC 8428), a profile of it: integer labels only, one base name
 * per pack (the device), a base time wherever the time changes, one value per record. Written and
 * read in one pass each, because this runs for every reading of the home.
 *
 * A unit outside the registry is refused where a pack is made. Where one is read it is kept, so that
 * a device which knows a newer registry is not unreadable for older ones.
 */
import type { Type } from '../wire/index.ts'
import { BOUNDS, TelemetryError } from './protocol.ts'
import { unitKind } from './units.ts'

/** One value of one sensor at one time. */
export interface Reading {
  /** The sensor's name under its device: SenML characters, 1..64 bytes, e.g. `memory.used`. */
  readonly sensor: string
  /** SenML unit name; absent for values without one. */
  readonly unit?: string
  readonly value: number | boolean | string
  /**
   * UTC milliseconds by the device's clock. In a pack, below `RELATIVE_BELOW_MS`: milliseconds from
   * the moment when the pack was sealed, so 0 or less.
   */
  readonly atMs: number
}

export interface SenmlBody {
  /** The base name, `urn:dev:ops:<peer id>:`. */
  readonly base: string
  readonly readings: readonly Reading[]
}

/** RFC 8428 table 4. */
const BVER = -1
const BN = -2
const BT = -3
const BU = -4
const N = 0
const U = 1
const V = 2
const VS = 3
const VB = 4
const T = 6

/** SenML version 10 with the feature "secondary units" (RFC 9100 section 4). */
const VERSION_SECONDARY_UNITS = 26

/** Longest text value, in bytes. */
const MAX_TEXT_BYTES = 256
/** The range of a date in ECMAScript; a time beyond it becomes its end. */
export const MAX_TIME_MS = 8_640_000_000_000_000
/** A time below it is relative to the moment of sealing (RFC 8428 section 4.5.3): 2^28 seconds. */
export const RELATIVE_BELOW_MS = 268_435_456_000

const NAME = /^[A-Za-z0-9][A-Za-z0-9\-:./_]{0,63}$/
const UNIT = /^[A-Za-z0-9/%*.-]{1,16}$/

/** The base name of a device's records (RFC 9039 section 4). */
export function baseName(peerId: string): string {
  return `urn:dev:ops:${peerId}:`
}

/** @throws TelemetryError TELEMETRY_BAD_READING */
export function requireReading(reading: Reading): void {
  const { sensor, unit, value, atMs } = reading
  const wrong =
    (!NAME.test(sensor) && 'name') ||
    (unit !== undefined && unitKind(unit) === undefined && 'unit') ||
    (!isValue(value) && 'value') ||
    (!(Number.isSafeInteger(atMs) && Math.abs(atMs) <= MAX_TIME_MS) && 'time')
  if (wrong !== false) throw new TelemetryError('TELEMETRY_BAD_READING', wrong)
}

function isValue(value: unknown): boolean {
  if (typeof value === 'number') return Number.isFinite(value)
  return typeof value === 'boolean' || isText(value)
}

function isText(value: unknown): value is string {
  return (
    typeof value === 'string' &&
    value.length <= MAX_TEXT_BYTES &&
    value.isWellFormed() &&
    new TextEncoder().encode(value).length <= MAX_TEXT_BYTES
  )
}

/** Bytes that a reading takes up in a pack, at most. */
export function readingBytes({ sensor, unit, value }: Reading): number {
  const content = typeof value === 'string' ? 3 * value.length + 4 : 10
  return 1 + 3 + sensor.length + (unit === undefined ? 0 : 3 + unit.length) + content + 10
}

/** The `readings` of a pack's payload. Values out of bounds throw TelemetryError or RangeError. */
export const senml: Type<SenmlBody> = { toWire, fromWire }

function toWire({ base, readings }: SenmlBody): unknown {
  if (readings.length < 1 || readings.length > BOUNDS.maxReadings) {
    throw new RangeError(`not 1..${BOUNDS.maxReadings} readings`)
  }
  let timeMs: number | undefined
  const records = readings.map((reading, index) => {
    requireReading(reading)
    // Keys in the order of their encoding, so that the encoder has nothing to sort.
    const record = new Map<number, unknown>([[N, reading.sensor]])
    if (reading.unit !== undefined) record.set(U, reading.unit)
    putValue(record, reading.value)
    if (index === 0) {
      if (readings.some(({ unit }) => unit !== undefined && unitKind(unit) === 'secondary')) {
        record.set(BVER, VERSION_SECONDARY_UNITS)
      }
      record.set(BN, base)
    }
    if (reading.atMs !== timeMs) record.set(BT, (timeMs = reading.atMs) / 1000)
    return record
  })
  return records
}

function putValue(record: Map<number, unknown>, value: Reading['value']): void {
  // Adding 0 turns -0 into 0, which has one encoding.
  if (typeof value === 'number') record.set(V, value + 0)
  else if (typeof value === 'string') record.set(VS, value)
  else record.set(VB, value)
}

interface Bases {
  name: string | undefined
  time: number
  unit: string | undefined
}

function fromWire(value: unknown): SenmlBody {
  if (!Array.isArray(value) || value.length < 1 || value.length > BOUNDS.maxReadings) {
    throw new RangeError(`not 1..${BOUNDS.maxReadings} records`)
  }
  const bases: Bases = { name: undefined, time: 0, unit: undefined }
  const readings = value.map((record: unknown, index) => fromRecord(record, bases, index === 0))
  return { base: bases.name ?? '', readings }
}

function fromRecord(record: unknown, bases: Bases, first: boolean): Reading {
  if (!(record instanceof Map)) throw new TypeError('a record is not a map')
  const map = record as ReadonlyMap<unknown, unknown>
  let known = takeBases(map, bases, first)
  const sensor = map.get(N)
  if (typeof sensor !== 'string' || !NAME.test(sensor)) throw new TypeError('name')
  const ownUnit = map.get(U)
  if (ownUnit !== undefined) known++
  const unit = ownUnit === undefined ? bases.unit : requireUnit(ownUnit)
  const offset = map.get(T)
  if (offset !== undefined) known++
  const atMs = timeOf(bases.time, offset)
  // Name and value are the two that every record has.
  if (map.size !== known + 2) throw new TypeError('unknown label, or not one value')
  const value = valueOf(map)
  return unit === undefined ? { sensor, value, atMs } : { sensor, unit, value, atMs }
}

/** Take over the record's base fields; returns how many it has. */
function takeBases(map: ReadonlyMap<unknown, unknown>, bases: Bases, first: boolean): number {
  let known = 0
  const time = map.get(BT)
  if (time !== undefined) {
    if (typeof time !== 'number') throw new TypeError('base time')
    bases.time = time
    known++
  }
  const unit = map.get(BU)
  if (unit !== undefined) {
    bases.unit = requireUnit(unit)
    known++
  }
  return first ? known + takeHead(map, bases) : known
}

/** Base name and version stand in the first record only. */
function takeHead(map: ReadonlyMap<unknown, unknown>, bases: Bases): number {
  const name = map.get(BN)
  if (typeof name !== 'string' || name.length > 128) throw new TypeError('base name')
  bases.name = name
  const version = map.get(BVER)
  if (version === undefined) return 1
  if (version !== VERSION_SECONDARY_UNITS) throw new RangeError('version')
  return 2
}

function requireUnit(unit: unknown): string {
  if (typeof unit !== 'string' || !UNIT.test(unit)) throw new TypeError('unit')
  return unit
}

function timeOf(base: number, offset: unknown): number {
  if (offset !== undefined && typeof offset !== 'number') throw new TypeError('time')
  return clampMs(Math.round((base + (offset ?? 0)) * 1000))
}

/** Within the range of dates; -0 becomes 0. */
export function clampMs(ms: number): number {
  return Math.min(Math.max(ms, -MAX_TIME_MS), MAX_TIME_MS) + 0
}

function valueOf(map: ReadonlyMap<unknown, unknown>): Reading['value'] {
  const number = map.get(V)
  if (typeof number === 'number') return number
  const flag = map.get(VB)
  if (typeof flag === 'boolean') return flag
  const words = map.get(VS)
  if (isText(words)) return words
  throw new TypeError('value')
}
