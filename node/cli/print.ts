/** Text for people: tables, spans of time, values, errors. What comes from other devices is made harmless. */
import { styleText } from 'node:util'

import { problemOf, ApiError, isNodeErrorCode, type Problem } from '../api/problem.ts'
import type { DeviceState, LogProgress, Reading, UnplacedReading } from '../api/view.ts'
import { EXIT, NODE_ERRORS, NodeError } from '../errors.ts'
import { printable } from '../printable.ts'
import { valueText } from './values.ts'

/** Columns as wide as their widest cell; the last one ragged, and painted by `paint`. */
export function table(
  headers: readonly string[],
  rows: readonly (readonly string[])[],
  paint: (cell: string) => string = (cell) => cell,
): string {
  const safe = rows.map((row) => row.map(printable))
  const widths = headers.map((header, column) =>
    Math.max(width(header), ...safe.map((row) => width(row[column] ?? ''))),
  )
  const line = (cells: readonly string[], last: (cell: string) => string): string => {
    const padded = cells
      .slice(0, -1)
      .map((cell, column) => cell + ' '.repeat((widths[column] ?? 0) - width(cell)))
    return [...padded, last(cells.at(-1) ?? '')].join('  ').trimEnd()
  }
  return [line(headers, String), ...safe.map((row) => line(row, paint))].join('\n')
}

function width(text: string): number {
  return [...new Intl.Segmenter().segment(text)].length
}

const SPANS = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1000, 's'],
] as const

/** "3 s", "2 h": the largest unit that fits, rounded down. */
export function span(ms: number): string {
  const [size, unit] = SPANS.find(([length]) => ms >= length) ?? [1000, 's']
  return `${Math.max(0, Math.floor(ms / size))} ${unit}`
}

/** "120 of 8640 packs, catching up". */
export function logText({ packs, of }: LogProgress): string {
  return packs < of ? `${packs} of ${of} packs, catching up` : `${of} packs`
}

/** "3 s ago", "now", "never". */
export function ago(at: number | null, now: number): string {
  if (at === null) return 'never'
  return now - at < 1000 ? 'now' : `${span(now - at)} ago`
}

/** `2027-01-15 08:00:00`, local time. */
export function dateText(at: number): string {
  const date = new Date(at)
  const two = (value: number): string => String(value).padStart(2, '0')
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-')
  return `${day} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':')}`
}

export function readingText(reading: Reading): string {
  const doubt = reading.source === 'extract' ? '  as told' : '  NOT VERIFIED'
  return `${dateText(reading.at)}  ${measuredText(reading)}${reading.verified ? '' : doubt}`
}

/** In the place of the date: how long after which start of the device. */
export function unplacedText(reading: UnplacedReading): string {
  const { boot, sinceStartMs } = reading.unplaced
  const when = `${span(sinceStartMs)} after start ${boot.slice(0, 8)}`
  const doubt = reading.verified ? '' : '  NOT VERIFIED'
  return `no date yet, ${when}  ${measuredText(reading)}${doubt}`
}

function measuredText({ name, sensor, unit, value }: Omit<Reading, 'at'>): string {
  return `${printable(`${name}/${sensor}`)}  ${printable(valueText(value, unit))}`
}

const STATE_COLORS: Readonly<Record<DeviceState, 'green' | 'cyan' | 'yellow' | 'red' | 'gray'>> = {
  online: 'green',
  asleep: 'cyan',
  late: 'yellow',
  lost: 'red',
  removed: 'gray',
  unknown: 'gray',
}

export function stateText(state: string, color: boolean): string {
  return color && isState(state)
    ? styleText(STATE_COLORS[state], state, { validateStream: false })
    : state
}

function isState(state: string): state is DeviceState {
  return Object.hasOwn(STATE_COLORS, state)
}

/** What went wrong as one problem, whoever threw it. */
export function errorProblem(error: unknown): Problem {
  if (error instanceof ApiError) {
    const { code, message, status, hint } = error
    // What was typed breaks a rule of the API: the rule says more than that it was broken.
    if (code === 'HTTP_BAD_REQUEST' && hint !== undefined) return { status, code, title: hint }
    return { status, code, title: message, ...(hint === undefined ? {} : { detail: hint }) }
  }
  const problem = problemOf(error)
  if (problem.code !== 'NODE_INTERNAL' || error instanceof NodeError) return problem
  const title = error instanceof Error ? error.message : String(error)
  return { ...problem, title, detail: 'This is a defect in Kith. See more with: --verbose' }
}

/** For standard error: JSON on one line, or the message and the way on. */
export function errorText(problem: Problem, json: boolean): string {
  if (json) return JSON.stringify(problem)
  const lines = problem.title.split('\n').map(printable).join('\n')
  const hint = problem.detail === undefined ? '' : `\n${printable(problem.detail)}`
  return `kith: ${lines}${hint}`
}

/** The exit code of a problem, as the README promises them to scripts. */
export function exitOf({ code, status }: Problem): number {
  if (isNodeErrorCode(code)) return NODE_ERRORS[code].exit
  if (code === 'HTTP_BAD_REQUEST') return EXIT.usage
  return status === 401 || status === 403 ? EXIT.denied : EXIT.failed
}
