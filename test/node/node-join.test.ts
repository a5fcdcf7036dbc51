import assert from 'node:assert/strict'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { it } from 'node:test'

import { migration } from '../../node/storage/datastore.ts'
import { addByQr, folders, makeHome, startDevice } from '../helpers/device.ts'

it('is in no home where it cannot begin to live in the one that it was let into', async () => {
  await using dirs = folders()
  await using owner = await startDevice(await dirs.make())
  await makeHome(owner)
  const dir = await dirs.make()
  await using fresh = await startDevice(dir)
  const db = new DatabaseSync(join(dir, 'kith.db'))
  db.exec('DROP TABLE libp2p')
  await assert.rejects(addByQr(owner, fresh, 'member'), { code: 'NODE_PAIRING' })
  assert.equal((await fresh.view.status()).home, null)
  db.exec(migration.sql)
  db.close()
  await makeHome(fresh, 'Its own')
  assert.equal((await fresh.view.status()).home?.name, 'Its own')
})
