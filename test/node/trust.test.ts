import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'

import type { DeviceBase } from '../../node/device/base.ts'
import { watchTrust } from '../../node/device/trust.ts'
import { systemClock, systemRandom } from '../../node/env.ts'
import { createEmitter } from '../../node/events.ts'
import { createJournal } from '../../node/journal.ts'
import type { Members } from '../../node/services/members/members.ts'
import type { Telemetry, TelemetryEvents } from '../../node/services/telemetry/index.ts'
import { MIGRATIONS } from '../../node/migrations.ts'
import { openDatabase } from '../../node/storage/db.ts'
import { loadOrCreateSeed } from '../../node/storage/key-file.ts'
import { openOpStore } from '../../node/storage/ops.ts'
import { openPackStore } from '../../node/storage/packs.ts'
import { signerFromSeed } from '../../protocols/identity/index.ts'
import {
  grant,
  reduce,
  regrant,
  type HomeState,
  type OpSet,
} from '../../protocols/members/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import { addByQr, eventOf, folders, makeHome, startDevice } from '../helpers/device.ts'
import { as, genesisOf, keyNamed, put, setOf } from '../helpers/members.ts'
import { packOf, reading } from '../helpers/telemetry.ts'

const dirs = folders()
after(() => dirs[Symbol.asyncDispose]())

describe('a device that signed two histories', () => {
  it('is shown as such, and trusted again where an owner says so', async () => {
    const dir = await dirs.make()
    const other = await dirs.make()
    {
      await using owner = await startDevice(dir)
      await using fresh = await startDevice(other)
      await makeHome(owner)
      await addByQr(owner, fresh, 'member')
    }
    const signer = signerFromSeed((await loadOrCreateSeed(other, systemRandom)).seed.reveal())
    const db = openDatabase(join(dir, 'kith.db'), MIGRATIONS)
    const home = openOpStore(db).home()
    const twins = [1, 2].map((value) =>
      packOf(signer, { ...(home === undefined ? {} : { home }), readings: [reading({ value })] }),
    )
    openPackStore(db).insert(twins.map((pack) => ({ pack, receivedAtMs: Date.now() })))
    db.close()

    await using owner = await startDevice(dir)
    const caught = async () => (await owner.view.devices()).filter(({ quarantined }) => quarantined)
    const [row] = await caught()
    assert.ok(row !== undefined && !row.self)
    assert.equal((await owner.view.trust(row.id)).quarantined, false)
    assert.deepEqual(await caught(), [])
    await eventOf(owner, 'telemetry.trusted')
    await assert.rejects(owner.view.trust(row.id), { code: 'NODE_CONFLICT' })
  })

  it('is alarmed of everywhere, until a newer grant of its place is heard of', async () => {
    const { ops, base, parts, released, fork, heard } = stage()
    watchTrust(base, parts, new AbortController().signal)
    fork()
    for await (const { type, data } of base.journal.follow(0, AbortSignal.timeout(5000))) {
      assert.deepEqual([type, data['name']], ['telemetry.fork', 'bob'])
      break
    }
    const elsewhere = {
      subject: keyNamed('cat'),
      role: 'member',
      name: 'c',
      paired: 'code',
    } as const
    put(ops, grant(as(ops, 'ann'), elsewhere))
    heard()
    assert.deepEqual(released, [])
    put(ops, ...regrant(as(ops, 'ann'), { ...elsewhere, subject: keyNamed('bob'), name: 'bob' }))
    heard()
    assert.deepEqual(released, [toHex(keyNamed('bob'))])
    heard()
    assert.equal(released.length, 1)
  })
})

/** The parts that trust works with, around a membership that the test changes. */
function stage() {
  const ops: OpSet = setOf(genesisOf())
  put(
    ops,
    grant(as(ops, 'ann'), {
      subject: keyNamed('bob'),
      role: 'member',
      name: 'bob',
      paired: 'code',
    }),
  )
  const raise = (error: unknown): never => {
    throw error
  }
  const changes = createEmitter<{ change: HomeState }>(raise)
  const alarms = createEmitter<TelemetryEvents>(raise)
  const released: string[] = []
  const members = {
    events: changes,
    get state() {
      return reduce(ops)
    },
  } as unknown as Members
  const telemetry = {
    events: alarms,
    isQuarantined: () => false,
    release: (key: Uint8Array) => void released.push(toHex(key)),
  } as unknown as Telemetry
  const base = {
    db: openDatabase(':memory:', MIGRATIONS),
    journal: createJournal(systemClock),
  } as unknown as DeviceBase
  return {
    ops,
    base,
    released,
    parts: { members, telemetry },
    fork: () => alarms.emit('fork', { device: keyNamed('bob'), seq: 1 }),
    heard: () => changes.emit('change', reduce(ops)),
  }
}
