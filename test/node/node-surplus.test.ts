import assert from 'node:assert/strict'
import { join } from 'node:path'
import { it } from 'node:test'

import { systemRandom } from '../../node/env.ts'
import { MIGRATIONS } from '../../node/migrations.ts'
import { openDatabase } from '../../node/storage/db.ts'
import { loadOrCreateSeed } from '../../node/storage/key-file.ts'
import { openOpStore } from '../../node/storage/ops.ts'
import { createVerifier, signerFromSeed } from '../../protocols/identity/index.ts'
import { CAPS, createOpSet, grant, rename, type Op } from '../../protocols/members/index.ts'
import { folders, makeHome, startDevice } from '../helpers/device.ts'
import { keyNamed, rawOp } from '../helpers/members.ts'

it('starts with ops on disk that were kept only because an owner had built on them', async () => {
  await using dirs = folders()
  const dir = await dirs.make()
  const first = await startDevice(dir)
  await makeHome(first)
  await first.stop()

  const signer = signerFromSeed((await loadOrCreateSeed(dir, systemRandom)).seed.reveal())
  const db = openDatabase(join(dir, 'kith.db'), MIGRATIONS)
  const store = openOpStore(db)
  const home = store.home() ?? new Uint8Array()
  const setOf = (ops: readonly Uint8Array[]) => {
    const set = createOpSet(home, createVerifier())
    for (const bytes of ops) set.add(bytes)
    return set
  }
  const loaded = store.loadAll()
  const owner = (ops: ReturnType<typeof setOf>) => ({ ops, signer, nowMs: 0 })
  const letIn = grant(owner(setOf(loaded)), {
    subject: keyNamed('gus'),
    role: 'guest',
    name: 'gus',
    paired: 'code',
  })
  const base = [...loaded, letIn.bytes]
  const leaving = Array.from({ length: CAPS.maxRetirements + 1 }, (_, ts): Op =>
    rawOp(setOf(base), {
      by: 'gus',
      auth: letIn.id,
      prev: [letIn.id],
      ts,
      content: { type: 'retire', body: {} },
    }),
  )
  const [last] = leaving.slice(-1)
  assert.ok(last !== undefined)
  const renamed = rename(owner(setOf([...base, last.bytes])), undefined, 'Built upon')
  store.append(home, [letIn, ...leaving, renamed])
  db.close()

  await using again = await startDevice(dir)
  const { home: shown } = await again.view.status()
  assert.equal(shown?.name, 'Built upon')
})
