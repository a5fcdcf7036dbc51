/**
 * Publishes readings into a log on disk and says of each pack, once it is kept, its number and hash.
 * Arguments: the folder, how many packs, and the number that the first value continues from. Run as a
 * process of its own, to be killed.
 */
import { writeSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'

import pino from 'pino'

import { systemBoot } from '../../node/boot.ts'
import { systemClock } from '../../node/env.ts'
import { createPublisher } from '../../node/services/telemetry/publisher.ts'
import { openDatabase } from '../../node/storage/db.ts'
import { syncFolder } from '../../node/storage/files.ts'
import { migration, openPackStore } from '../../node/storage/packs.ts'
import { createTimekeeper } from '../../node/timekeeper.ts'
import { toHex } from '../../protocols/wire/index.ts'
import { deviceOf, HOME } from './telemetry.ts'

const [dir = '', count = '0'] = process.argv.slice(2)
const signer = deviceOf('publishing')
const db = openDatabase(join(dir, 'kith.db'), [migration])
// As at the first start of a device.
await syncFolder(dir)
// Often, so that a short run has many of them.
db.exec('PRAGMA wal_autocheckpoint = 40')
const store = openPackStore(db)
const publisher = createPublisher(
  {
    store,
    signer,
    home: HOME,
    epoch: () => 0,
    time: createTimekeeper({
      clock: systemClock,
      boot: systemBoot(),
      fallback: new Uint8Array(16),
      key: signer.key,
      synced: () => true,
      newestSignedMs: () => 0,
    }),
    clock: systemClock,
    log: pino({ level: 'silent' }),
  },
  ({ seq, hash }) => void writeSync(1, `kept ${seq} ${toHex(hash)}\n`),
)
for (let i = 0; i < Number(count); i++) {
  const atMs = systemClock.now()
  publisher.add(
    Array.from({ length: 8 }, (_, n) => ({ sensor: `s${n}`, unit: 'Cel', value: i + n / 8, atMs })),
  )
  if (!publisher.flush()) throw new Error('not kept')
  // As on a quiet line, now and then: else the rows go with the next pack.
  if (i % 3 === 2) store.file()
}
db.close()
