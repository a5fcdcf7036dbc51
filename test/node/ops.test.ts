import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { openDatabase } from '../../node/storage/db.ts'
import { migration, openOpStore } from '../../node/storage/ops.ts'
import { genesisOf, grantBody, put, rawOp, setOf } from '../helpers/members.ts'

const genesis = genesisOf()
const set = setOf(genesis)
const ops = ['bob', 'carl', 'dora'].map((name) =>
  put(set, rawOp(set, { by: 'ann', content: grantBody(name, 'member') })),
)

function open() {
  const db = openDatabase(':memory:', [migration])
  return { db, store: openOpStore(db) }
}

describe('the store of membership ops', () => {
  it('begins without a home and without ops', () => {
    const { store } = open()
    assert.equal(store.home(), undefined)
    assert.deepEqual(store.loadAll(), [])
  })

  it('gives back what was stored, in that order, once each, after a restart', (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'kith-ops-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const file = join(folder, 'db')
    const first = openDatabase(file, [migration])
    const store = openOpStore(first)
    store.append(genesis.id, [genesis, ...ops.slice(0, 2)])
    store.append(genesis.id, ops)
    first.close()
    const second = openDatabase(file, [migration])
    const again = openOpStore(second)
    assert.deepEqual(again.home(), genesis.id)
    assert.deepEqual(
      again.loadAll(),
      [genesis, ...ops].map(({ bytes }) => bytes),
    )
    second.close()
  })

  it('stores all of a batch or nothing', () => {
    const { store } = open()
    store.append(genesis.id, [genesis])
    const bad = { id: new Uint8Array(31), bytes: Uint8Array.of(1) }
    assert.throws(() => store.append(genesis.id, [...ops, bad]), /CHECK/)
    assert.equal(store.loadAll().length, 1)
  })

  it('says that the disk is full, and stores nothing then', () => {
    const { db, store } = open()
    store.append(genesis.id, [genesis])
    db.exec('PRAGMA max_page_count = 1')
    const large = { id: new Uint8Array(32), bytes: new Uint8Array(100_000) }
    assert.throws(() => store.append(genesis.id, [...ops, large]), {
      code: 'NODE_DATABASE',
      message: 'The disk of this device is full.',
    })
    assert.equal(store.loadAll().length, 1)
  })

  it('refuses ops of a second home, and takes them after a reset', () => {
    const { store } = open()
    const other = genesisOf('mallory')
    store.append(genesis.id, [genesis, ...ops])
    assert.throws(() => store.append(other.id, [other]), { code: 'NODE_CONFLICT' })
    assert.equal(store.loadAll().length, 4)
    store.forget()
    assert.equal(store.home(), undefined)
    assert.deepEqual(store.loadAll(), [])
    store.append(other.id, [other])
    assert.deepEqual(store.home(), other.id)
  })
})
