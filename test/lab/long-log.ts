/** A past for a device that is not running: packs of its own, signed by its own key, on its disk. */
import path from 'node:path'

import { MIGRATIONS } from '../../node/migrations.ts'
import { systemClock, systemRandom } from '../../node/env.ts'
import { openDatabase } from '../../node/storage/db.ts'
import { loadOrCreateSeed } from '../../node/storage/key-file.ts'
import { openOpStore } from '../../node/storage/ops.ts'
import { openPackStore } from '../../node/storage/packs.ts'
import { signerFromSeed } from '../../protocols/identity/index.ts'
import { sealPack } from '../../protocols/telemetry/index.ts'

const EVERY_MS = 1000

export interface Past {
  readonly packs: number
  /** In each pack. */
  readonly sensors: number
}

/** The device is in a home, and stopped. Its last pack is of a moment ago. */
export async function addPast(dataDir: string, { packs, sensors }: Past): Promise<void> {
  const { seed } = await loadOrCreateSeed(dataDir, systemRandom)
  const signer = signerFromSeed(seed.reveal())
  const db = openDatabase(path.join(dataDir, 'kith.db'), MIGRATIONS)
  try {
    const home = openOpStore(db).home()
    if (home === undefined) throw new Error('no home')
    const store = openPackStore(db)
    const bootId = systemRandom.bytes(16)
    const born = systemClock.now() - (packs + 1) * EVERY_MS
    for (let i = 0; i < packs; i++) {
      const mono = (i + 1) * EVERY_MS
      const readings = Array.from({ length: sensors }, (_, n) => ({
        sensor: `room${n}`,
        unit: 'Cel',
        value: 20 + Math.sin(i + n),
        atMs: born + mono,
      }))
      const facts = { bootId, epoch: 0, clock: 'synced', mono, born, readings } as const
      const make = (seq: number, prev: Uint8Array) =>
        sealPack({ ...facts, seq, prev }, home, signer)
      store.appendOwn(signer.key, make, born + mono)
    }
  } finally {
    db.close()
  }
}
