/**
 * Measured values for people: SenML's units as people write them, and no more digits than anyone
 * reads. Programs get the numbers as they are, with --json.
 */

const SHOWN_UNITS: Readonly<Record<string, string>> = {
  Cel: '°C',
  degC: '°C',
  '%RH': '% RH',
  count: '',
  '': '',
}

const BYTE_STEPS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const
const SPAN_STEPS = [
  ['d', 86_400],
  ['h', 3_600],
  ['min', 60],
] as const

export function valueText(value: number, unit: string): string {
  if (unit === 'B' || unit === 'B/s') return `${bytesText(value)}${unit.slice(1)}`
  if (unit === '/') return `${digits(value * 100)} %`
  if (unit === 's' && value >= 120) return spanText(value)
  return `${digits(value)} ${SHOWN_UNITS[unit] ?? unit}`.trimEnd()
}

function bytesText(value: number): string {
  const step = Math.min(
    BYTE_STEPS.length - 1,
    Math.max(0, Math.floor(Math.log2(Math.max(1, Math.abs(value))) / 10)),
  )
  return `${digits(value / 1024 ** step)} ${BYTE_STEPS[step] ?? 'B'}`
}

function spanText(seconds: number): string {
  const [name, length] = SPAN_STEPS.find(([, one]) => seconds >= 2 * one) ?? ['min', 60]
  return `${digits(seconds / length)} ${name}`
}

/** Four significant digits; whole numbers below ten million as they are. */
function digits(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e7) return `${value}`
  if (value !== 0 && (Math.abs(value) >= 1e15 || Math.abs(value) < 1e-6)) {
    return value.toExponential(3)
  }
  return `${Number(value.toPrecision(4))}`
}
