/**
 * Packs that were made before their device's clock was set: they wait until another pack tells when
 * that boot began, and then become rows like all others, a few with each write, so that days of them
 * hold up nobody. What they come to depends on the log alone.
 */
import type { DatabaseSync } from 'node:sqlite'

import { FLAGS, reopenPack, timesOf, type Pack } from '../../protocols/telemetry/index.ts'
import { bootTable } from './boots.ts'
import type { ReadingTable } from './readings.ts'

/** For `packs`, which has a column `boot` for them. */
export const UNPLACED_INDEX = `
  CREATE INDEX unplaced_packs ON packs (log, boot) WHERE (flags & ${FLAGS.unplaced}) <> 0;
`

/** Packs placed with one write. */
const CHUNK = 64

export interface Unplaced {
  /** Packs whose time is not known, and the first and last number of them. */
  readonly packs: number
  readonly from: number
  readonly to: number
}

export interface Placing {
  bornMs(log: number, bootId: Uint8Array): number | undefined
  /** Before a pack is written: the boot to write with it. Inside its transaction. */
  boot(log: number, pack: Pack): number | null
  /** After it was written: place some of what waits. Inside its transaction. */
  placeSome(): void
  unplaced(log: number): Unplaced | undefined
  /** Forget what is remembered of the tables, after a transaction was undone. */
  forget(): void
}

export function placing(db: DatabaseSync, readings: ReadingTable): Placing {
  const boots = bootTable(db)
  /** Boots whose beginning is known and whose packs may wait; unknown after the start. */
  let ready: Set<number> | undefined
  const listReady = db.prepare(
    `SELECT DISTINCT b.id FROM packs p JOIN boots b ON b.id = p.boot
     WHERE (p.flags & ${FLAGS.unplaced}) <> 0 AND b.born_ms IS NOT NULL`,
  )
  const bootById = db.prepare('SELECT log, born_ms FROM boots WHERE id = ?')
  const waiting = db.prepare(
    `SELECT id, bytes, flags FROM packs
     WHERE log = ? AND boot = ? AND (flags & ${FLAGS.unplaced}) <> 0 ORDER BY id LIMIT ${CHUNK}`,
  )
  const place = db.prepare('UPDATE packs SET flags = ?, from_ms = ?, to_ms = ? WHERE id = ?')
  const count = db.prepare(
    `SELECT count(*) AS packs, min(seq) AS first, max(seq) AS last FROM packs
     WHERE log = ? AND (flags & ${FLAGS.unplaced}) <> 0`,
  )

  function readyBoots(): Set<number> {
    ready ??= new Set((listReady.all() as { id: number }[]).map(({ id }) => id))
    return ready
  }

  function placeIn(boot: number): void {
    const known = bootById.get(boot) as { log: number; born_ms: number } | undefined
    const rows = (known === undefined ? [] : waiting.all(known.log, boot)) as {
      id: number
      bytes: Uint8Array
      flags: number
    }[]
    for (const { id, bytes, flags } of rows) {
      const pack = reopenPack(bytes)
      const times = timesOf(pack, known?.born_ms) ?? []
      const after = (flags & ~FLAGS.unplaced) | FLAGS.placed
      const sorted = times.toSorted((a, b) => a - b)
      place.run(after, sorted[0] ?? 0, sorted.at(-1) ?? 0, id)
      readings.insert(known?.log ?? 0, id, { pack, times, flags: after })
    }
    if (rows.length < CHUNK) readyBoots().delete(boot)
  }

  return {
    bornMs: (log, bootId) => boots.find(log, bootId)?.bornMs,
    boot(log, { bootId, born, clock }) {
      const { id, bornMs, fresh } = boots.note(log, bootId, born)
      if (bornMs === undefined) return id
      if (fresh) readyBoots().add(id)
      return clock === 'unset' ? id : null
    },
    placeSome() {
      const [boot] = readyBoots()
      if (boot !== undefined) placeIn(boot)
    },
    unplaced(log) {
      const { packs, first, last } = count.get(log) as Record<'packs' | 'first' | 'last', number>
      return packs === 0 ? undefined : { packs, from: first, to: last }
    },
    forget() {
      boots.forget()
      ready = undefined
    },
  }
}
