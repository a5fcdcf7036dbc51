/**
 * The rows of the ledger: what each says and how they hold on to each other. A row is a CBOR list in
 * an envelope of the gateway: `["egress", n, before, kind, at, day, oldest, sinks]` with the hash of
 * the row before it and the number of the oldest row that was kept when it was made, and for each sink
 * `[sink, bytes, told, headers, fields]`, the last a hash over what is told of each field.
 *
 * Whoever has the gateway's key can make rows anew. What was noted elsewhere, number and hash of the
 * last row, shows that too.
 */
import { asError } from '../../node/index.ts'
import { sha256 } from '../../protocols/identity/index.ts'
import { decodeCbor, encodeCbor, equalBytes, toHex } from '../../protocols/wire/index.ts'
import type { EgressDay } from './ledger.ts'

export type RowKind = 'start' | 'start-after-kill' | 'day' | 'stop'

export interface RowHead {
  readonly n: number
  /** Hash of the row before it; zeros before the first. */
  readonly before: Uint8Array
  readonly kind: RowKind
  readonly atMs: number
  /** What the row tells is of this day. */
  readonly day: string
  /** The number of the oldest row. */
  readonly oldest: number
}

export interface Verified {
  /** Rows that were looked at, and the numbers of the first and the last. */
  readonly rows: number
  readonly first: number
  readonly last: number
  /** Of the last row, 64 hexadecimal digits: to note elsewhere. */
  readonly hash: string
  /** Starts after a kill: up to a second of counting is missing before each. */
  readonly kills: number
  /** The first thing that is wrong; absent where nothing is. */
  readonly problem?: string
}

interface Told {
  readonly bytes: number
  readonly toldBytes: number
  readonly fields: Uint8Array
}

interface Row extends RowHead {
  readonly sinks: ReadonlyMap<string, Told>
}

const NONE = new Uint8Array(32)
const LIMITS = { maxBytes: 65_536, maxDepth: 4, maxItems: 10_000 }

export function hashOfRow(signed: Uint8Array | undefined): Uint8Array {
  return signed === undefined ? NONE : sha256(signed)
}

/** `days` are of the row's day, one for each sink. */
export function encodeRow(head: RowHead, days: readonly EgressDay[]): Uint8Array {
  const { n, before, kind, atMs, day, oldest } = head
  const sinks = days.map((one) => [
    one.sink,
    one.bytes,
    one.toldBytes,
    one.headerBytes,
    hashOfFields(one),
  ])
  return encodeCbor(['egress', n, before, kind, atMs, day, oldest, sinks])
}

function hashOfFields({ fields }: EgressDay): Uint8Array {
  return sha256(encodeCbor(fields.map((one) => [one.device, one.sensor, one.bytes, one.times])))
}

/** @throws where it is no row */
function decodeRow(payload: Uint8Array): Row {
  const list = decodeCbor(payload, LIMITS) as readonly unknown[]
  const [type, n, before, kind, atMs, day, oldest, sinks] = list
  if (type !== 'egress') throw new Error('it is a record of something else')
  const told = (sinks as readonly [string, number, number, number, Uint8Array][]).map(
    ([sink, bytes, toldBytes, , fields]) => [sink, { bytes, toldBytes, fields }] as const,
  )
  const head = { n, before, kind, atMs, day, oldest } as RowHead
  return { ...head, sinks: new Map(told) }
}

interface Against {
  readonly opened: (bytes: Uint8Array) => Uint8Array
  /** What is told of each day, to be held against the rows. */
  readonly days: readonly EgressDay[]
  /** The day that is not over. */
  readonly today: string
}

/** Rows oldest first. */
export function verifyRows(signed: readonly Uint8Array[], against: Against): Verified {
  const rows: Row[] = []
  const verified = (problem?: string): Verified => ({
    rows: rows.length,
    first: rows[0]?.n ?? 0,
    last: rows.at(-1)?.n ?? 0,
    hash: toHex(hashOfRow(signed[rows.length - 1])),
    kills: rows.filter(({ kind }) => kind === 'start-after-kill').length,
    ...(problem === undefined ? {} : { problem }),
  })
  for (const [i, bytes] of signed.entries()) {
    const before = rows.at(-1)
    try {
      const row = decodeRow(against.opened(bytes))
      const wrong = before === undefined ? undefined : brokenAt(row, before, signed[i - 1])
      if (wrong !== undefined) return verified(wrong)
      rows.push(row)
    } catch (error) {
      const after = before === undefined ? 'the first row' : `the row after ${before.n}`
      return verified(`${after} is not of this gateway: ${asError(error).message}`)
    }
  }
  return verified(wrongBegin(rows) ?? wrongDay(rows, against))
}

function brokenAt(row: Row, last: Row, lastSigned: Uint8Array | undefined): string | undefined {
  const { n, before, day } = row
  if (n !== last.n + 1) return `after row ${last.n} comes row ${n}`
  if (!equalBytes(before, hashOfRow(lastSigned))) return `row ${n} was made after another ${last.n}`
  if (day !== last.day) return undefined
  const less = [...last.sinks].find(([sink, { bytes }]) => bytes > bytesOf(row, sink))
  return less === undefined ? undefined : `row ${n}: less is told of ${less[0]} than before`
}

function bytesOf(row: Row | undefined, sink: string): number {
  return row?.sinks.get(sink)?.bytes ?? -1
}

function wrongBegin(rows: readonly Row[]): string | undefined {
  const [first] = rows
  const last = rows.at(-1)
  if (first === undefined || last === undefined) return 'there are no rows'
  return first.n === last.oldest
    ? undefined
    : `rows before ${first.n} are missing, from ${last.oldest} on`
}

/** What is told of days against their rows: of those that are over, all of it. */
function wrongDay(rows: readonly Row[], { days, today }: Against): string | undefined {
  const ends = new Map(rows.filter(({ kind }) => kind === 'day').map((row) => [row.day, row]))
  const isOver = (day: string): boolean => day !== today && day >= (rows[0]?.day ?? '')
  const other = days.find(
    (one) => isOver(one.day) && !isAsTold(one, ends.get(one.day)?.sinks.get(one.sink)),
  )
  if (other !== undefined) return `${other.day}: of ${other.sink} is told what its row does not say`
  const known = new Set(days.map((one) => `${one.day} ${one.sink}`))
  // The days that are not kept any more are the oldest.
  const from = days[0]?.day ?? ''
  for (const [day, { sinks }] of ends) {
    const lost = [...sinks.keys()].find((sink) => !known.has(`${day} ${sink}`))
    if (isOver(day) && day > from && lost !== undefined) return `${day}: ${lost} is not told of`
  }
  const now = rows.findLast(({ day }) => day === today)
  const less = days.find((one) => one.day === today && one.bytes < bytesOf(now, one.sink))
  return less === undefined ? undefined : `${today}: less is told of ${less.sink} than before`
}

function isAsTold(day: EgressDay, told: Told | undefined): boolean {
  return told?.bytes === day.bytes && equalBytes(told.fields, hashOfFields(day))
}
