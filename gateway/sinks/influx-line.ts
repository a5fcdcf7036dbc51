/** A reading as one line of InfluxDB's line protocol, with whatever its texts hold kept inside them. */
import type { OutItem } from './sink.ts'

const MAX_TAG = 256
/** The server takes at most 64 KiB. */
const MAX_TEXT_BYTES = 60 * 1024
/** The server counts nanoseconds in 64 bits. */
const MAX_AT_MS = 9e12

/**
 * Measurement: the sensor. Tags: device, device_id, unit. Field by kind, as one field has one kind for
 * ever: `value`, `state` or `text`. Undefined where the protocol has no place for it.
 */
export function lineOf({
  sensor,
  device,
  deviceId,
  unit,
  value,
  atMs,
  pack,
}: OutItem): string | undefined {
  const at = Math.trunc(atMs)
  const field = fieldOf(value)
  if (pack !== undefined || sensor === '' || field === undefined) return undefined
  if (Number.isNaN(at) || Math.abs(at) > MAX_AT_MS) return undefined
  const tags = Object.entries({ device, device_id: deviceId, unit: unit ?? '' })
    .map(([key, text]) => [key, bare(text)] as const)
    .filter(([, text]) => text !== '')
    .map(([key, text]) => `,${key}=${text.replaceAll(/[,= ]/g, String.raw`\$&`)}`)
  return `${measurement(sensor)}${tags.join('')} ${field} ${at}\n`
}

/** A line that begins with # is a comment. */
function measurement(sensor: string): string {
  return bare(sensor)
    .replace(/^#/, '_')
    .replaceAll(/[, ]/g, String.raw`\$&`)
}

/** On one line. A backslash before the separator would take it with it, and there is no way to write it. */
function bare(text: string): string {
  return text
    .toWellFormed()
    .slice(0, MAX_TAG)
    .toWellFormed()
    .replaceAll(/\p{Cc}/gu, ' ')
    .replaceAll('\\', '/')
    .trim()
}

function fieldOf(value: OutItem['value']): string | undefined {
  if (typeof value === 'boolean') return `state=${value}`
  if (typeof value === 'number') return Number.isFinite(value) ? `value=${value}` : undefined
  if (Buffer.byteLength(value) > MAX_TEXT_BYTES) return undefined
  return `text="${value.toWellFormed().replaceAll(/["\\]/g, String.raw`\$&`)}"`
}
