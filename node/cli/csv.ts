/** Readings as comma-separated values (RFC 4180). A gap is a row of its own. */
import type { HistoryRow } from '../api/view.ts'

export const CSV_HEADER = 'kind,at,until,device,name,sensor,value,unit,seq,verified'

export function csvRow(row: HistoryRow): string {
  if ('gap' in row)
    return ['gap', time(row.gap.from), time(row.gap.to), '', '', '', '', '', '', ''].join(',')
  const { at, device, name, sensor, value, unit, seq, verified } = row
  const cells = [device, name, sensor].map(text)
  return ['reading', time(at), '', ...cells, value, text(unit), seq, verified].join(',')
}

function time(at: number): string {
  return new Date(at).toISOString()
}

/** Quoted where needed; a text that a spreadsheet would run as a formula is marked as text. */
function text(value: string): string {
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}
