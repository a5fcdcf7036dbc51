/**
 * Readings as comma-separated values (RFC 4180). A gap is a row of its own, as is a summary. A reading
 * without a date has the life of its machine and the seconds since that began instead.
 */
import type { HistoryRow, UnplacedReading } from '../api/view.ts'

export const CSV_HEADER =
  'kind,at,until,device,name,sensor,value,unit,seq,verified,min,mean,max,last,count,boot,since_start'

const NO_SUMMARY = ['', '', '', '', '']
const DATED = ['', '']

export function csvRow(row: HistoryRow | UnplacedReading): string {
  if ('gap' in row) {
    const { from, to } = row.gap
    return ['gap', time(from), time(to), '', '', '', '', '', '', '', ...NO_SUMMARY, ...DATED].join(
      ',',
    )
  }
  const { device, name, sensor, value, unit, seq, verified } = row
  const cells = [...[device, name, sensor].map(text), value, text(unit), seq, verified]
  if ('unplaced' in row) {
    const { boot, sinceStartMs } = row.unplaced
    return ['unplaced', '', '', ...cells, ...NO_SUMMARY, boot, sinceStartMs / 1000].join(',')
  }
  const { at } = row
  if (!('count' in row)) {
    return ['reading', time(at), '', ...cells, ...NO_SUMMARY, ...DATED].join(',')
  }
  const { everyMs, min, mean, max, last, count } = row
  const facts = [min, mean, max, last, count]
  return ['summary', time(at), time(at + everyMs), ...cells, ...facts, ...DATED].join(',')
}

function time(at: number): string {
  return new Date(at).toISOString()
}

/** Quoted where needed; a text that a spreadsheet would run as a formula is marked as text. */
function text(value: string): string {
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}
