/** Readings as comma-separated values (RFC 4180). A gap is a row of its own, as is a summary. */
import type { HistoryRow } from '../api/view.ts'

export const CSV_HEADER =
  'kind,at,until,device,name,sensor,value,unit,seq,verified,min,mean,max,last,count'

const NO_SUMMARY = ['', '', '', '', '']

export function csvRow(row: HistoryRow): string {
  if ('gap' in row) {
    const { from, to } = row.gap
    return ['gap', time(from), time(to), '', '', '', '', '', '', '', ...NO_SUMMARY].join(',')
  }
  const { at, device, name, sensor, value, unit, seq, verified } = row
  const cells = [...[device, name, sensor].map(text), value, text(unit), seq, verified]
  if (!('count' in row)) return ['reading', time(at), '', ...cells, ...NO_SUMMARY].join(',')
  const { everyMs, min, mean, max, last, count } = row
  return ['summary', time(at), time(at + everyMs), ...cells, min, mean, max, last, count].join(',')
}

function time(at: number): string {
  return new Date(at).toISOString()
}

/** Quoted where needed; a text that a spreadsheet would run as a formula is marked as text. */
function text(value: string): string {
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}
