/** Sensors as rows: a name, a unit and a kind of value in one log, with a number for short. */
import type { DatabaseSync } from 'node:sqlite'

import type { Reading } from '../../protocols/telemetry/index.ts'

/** Sensors of one log that get rows; what a device invents beyond stays in its packs only. */
const MAX_SENSORS = 1024

export interface Sensor {
  readonly id: number
  readonly name: string
  /** Empty where it has none. */
  readonly unit: string
  /** `typeof` its values. */
  readonly kind: string
}

export interface SensorTable {
  /** The sensor's row, made where there is none; undefined where there are too many. */
  idOf(log: number, reading: Reading): number | undefined
  idsOf(log: number): number[]
  /** Those whose name matches, with `*` for any characters. */
  matching(log: number, name: string): ReadonlyMap<number, Sensor>
  /** Forget what is remembered, after a transaction was undone. */
  forget(): void
}

export function sensorTable(db: DatabaseSync): SensorTable {
  const known = new Map<number, Map<string, number>>()
  const list = db.prepare('SELECT id, name, unit, kind FROM sensors WHERE log = ? AND name GLOB ?')
  const add = db.prepare('INSERT INTO sensors (log, name, unit, kind) VALUES (?, ?, ?, ?)')

  function matching(log: number, name: string): Map<number, Sensor> {
    const rows = list.all(log, name) as unknown as Sensor[]
    return new Map(rows.map((row) => [row.id, row]))
  }

  function ofLog(log: number): Map<string, number> {
    let found = known.get(log)
    if (found === undefined) {
      const rows = [...matching(log, '*').values()]
      found = new Map(rows.map(({ id, name, unit, kind }) => [keyOf(name, unit, kind), id]))
      known.set(log, found)
    }
    return found
  }

  return {
    idOf(log, { sensor, unit = '', value }) {
      const sensors = ofLog(log)
      const key = keyOf(sensor, unit, typeof value)
      const id = sensors.get(key)
      if (id !== undefined || sensors.size >= MAX_SENSORS) return id
      const added = Number(add.run(log, sensor, unit, typeof value).lastInsertRowid)
      sensors.set(key, added)
      return added
    },
    idsOf: (log) => [...ofLog(log).values()],
    matching,
    forget: () => known.clear(),
  }
}

function keyOf(name: string, unit: string, kind: string): string {
  return `${name} ${unit} ${kind}`
}
