/**
 * The device's log: pino, made once and handed down. JSON lines, or lines for people on a terminal,
 * on standard error, so that standard output stays a command's own. Messages are constant, facts
 * are fields. A value that must never be written is wrapped in `Secret`.
 */
import { inspect } from 'node:util'

import { pino, type Logger } from 'pino'

import { printable } from './printable.ts'

export type { Logger } from 'pino'

const HIDDEN = '[secret]'

/** Holds a value that no log, template, JSON or inspection can show; only `reveal` gives it out. */
export class Secret<T> {
  readonly #value: T

  constructor(value: T) {
    this.#value = value
  }

  reveal(): T {
    return this.#value
  }

  toString(): string {
    return HIDDEN
  }

  toJSON(): string {
    return HIDDEN
  }

  [Symbol.toPrimitive](): string {
    return HIDDEN
  }

  [inspect.custom](): string {
    return HIDDEN
  }
}

export interface LogOptions {
  readonly level: string
  /** `auto`: text where `out` is a terminal. */
  readonly format: 'auto' | 'json' | 'text'
  readonly color?: boolean | undefined
  /** Standard error, or a test's. Writes are in order; nothing waits for them. */
  readonly out: { readonly isTTY?: boolean | undefined; write(text: string): unknown }
}

export function createLogger({ level, format, color = false, out }: LogOptions): Logger {
  const text = format === 'text' || (format === 'auto' && out.isTTY === true)
  const write = text
    ? (line: string) => out.write(`${formatLine(line, color)}\n`)
    : (line: string) => out.write(line)
  return pino(
    {
      level,
      base: null,
      formatters: { level: (label) => ({ level: label }) },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
    },
    { write },
  )
}

const COLORS: Readonly<Record<string, number>> = {
  fatal: 31,
  error: 31,
  warn: 33,
  info: 32,
  debug: 36,
  trace: 90,
}

/** One JSON line as `12:03:04 info  paired  part=pairing peer=…`. */
export function formatLine(line: string, color: boolean): string {
  const entry = JSON.parse(line) as Record<string, unknown>
  const { level, time, msg, err, ...fields } = entry
  const name = String(level).padEnd(5)
  const shown = color ? `\u001B[${COLORS[String(level)] ?? 0}m${name}\u001B[0m` : name
  const facts = Object.entries(fields).map(([key, value]) => ` ${key}=${showField(value)}`)
  return [
    `${String(time).slice(11, 19)} ${shown} ${printable(typeof msg === 'string' ? msg : '')}${facts.join('')}`,
    ...errorLines(err, SEVERE.has(String(level))),
  ].join('\n')
}

function showField(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return printable(/^[^\s"=]+$/.test(text) ? text : JSON.stringify(text))
}

/** The way through the code is of use where Kith itself failed. JSON lines have it always. */
const SEVERE: ReadonlySet<string> = new Set(['error', 'fatal'])

function errorLines(err: unknown, whole: boolean): readonly string[] {
  if (typeof err !== 'object' || err === null) return []
  const { stack, message = '' } = err as { stack?: string; message?: string }
  return (whole ? (stack ?? message) : message).split('\n').map((part) => `    ${printable(part)}`)
}
