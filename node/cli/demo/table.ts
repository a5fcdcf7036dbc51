/** The demo's live table: one row for each device and sensor, drawn in place on a terminal. */
import type { Reading } from '../../api/view.ts'
import { valueText } from '../values.ts'

export interface LiveTable {
  readonly add: (reading: Reading) => void
  /** Every row, newest value each, as lines. */
  readonly lines: () => readonly string[]
}

interface Row {
  readonly reading: Reading
  readonly count: number
}

export function createTable(now: () => number): LiveTable {
  const rows = new Map<string, Row>()
  return {
    add(reading) {
      const key = `${reading.name}\u0000${reading.device}\u0000${reading.sensor}`
      rows.set(key, { reading, count: (rows.get(key)?.count ?? 0) + 1 })
    },
    lines() {
      const cells = [...rows.entries()]
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([, { reading, count }]) => [
          reading.name,
          reading.sensor,
          valueText(reading.value, reading.unit),
          `${Math.max(0, Math.round((now() - reading.at) / 1000))} s ago`,
          `${count}`,
          reading.verified ? '✔ signed' : '✘',
        ])
      return align([['DEVICE', 'SENSOR', 'VALUE', 'TAKEN', 'READINGS', 'VERIFIED'], ...cells])
    },
  }
}

function align(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = rows.reduce<number[]>(
    (widest, row) => row.map((cell, i) => Math.max(widest[i] ?? 0, cell.length)),
    [],
  )
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}
