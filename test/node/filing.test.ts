import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { after, before, describe, it } from 'node:test'

import fc from 'fast-check'

import { openDatabase } from '../../node/storage/db.ts'
import { migration, openPackStore, type PackStore } from '../../node/storage/packs.ts'
import { sealPack, type Reading } from '../../protocols/telemetry/index.ts'
import { deviceOf, HOME, packOf } from '../helpers/telemetry.ts'

const own = deviceOf('own')
const other = deviceOf('other')
const START_MS = 1_700_000_000_000
const BOOT_MS = START_MS - 600_000
const DAY_MS = 86_400_000
const ALL = { sinceMs: BOOT_MS - DAY_MS, untilMs: START_MS + DAY_MS }

type Step = 'append' | 'append without a clock' | 'file' | 'insert' | 'start again' | 'prune'
const STEPS: readonly Step[] = [
  'append',
  'append',
  'append without a clock',
  'file',
  'insert',
  'start again',
  'prune',
]

/** A store on disk that can lose its process. */
class Restarted {
  readonly #path: string
  #db: DatabaseSync
  store: PackStore
  #mono = 0
  /** Values of this device's own readings, in order. */
  readonly values: number[] = []
  #others = 0

  constructor(path: string) {
    this.#path = path
    this.#db = openDatabase(path, [migration])
    this.store = openPackStore(this.#db)
  }

  do(step: Step): void {
    if (step === 'append') this.#append(true)
    else if (step === 'append without a clock') this.#append(false)
    else if (step === 'file') this.store.file()
    else if (step === 'insert') this.#insert()
    else if (step === 'prune') this.store.prune({ receivedBeforeMs: 0, maxBytes: 2 ** 40 })
    else this.startAgain()
  }

  startAgain(): void {
    this.#db.close()
    this.#db = openDatabase(this.#path, [migration])
    this.store = openPackStore(this.#db)
  }

  [Symbol.dispose](): void {
    this.#db.close()
  }

  #append(clockSet: boolean): void {
    this.#mono += 1000
    const value = this.values.length
    const atMs = clockSet ? BOOT_MS + this.#mono : 0
    const readings: Reading[] = [{ sensor: 'load', value, atMs }]
    const born = clockSet ? { born: BOOT_MS } : {}
    const clock = clockSet ? ('synced' as const) : ('unset' as const)
    const rest = { bootId: new Uint8Array(16), epoch: 0, clock, mono: this.#mono, ...born }
    this.store.appendOwn(
      own.key,
      (seq, prev) => sealPack({ ...rest, readings, seq, prev }, HOME, own),
      BOOT_MS + this.#mono,
    )
    this.values.push(value)
  }

  #insert(): void {
    const seq = ++this.#others
    const prev = new Uint8Array(32).fill(seq === 1 ? 0 : seq)
    const pack = packOf(other, { seq: seq * 2 - 1, prev })
    this.store.insert([{ pack, receivedAtMs: START_MS }])
  }
}

describe('rows of this device’s own packs', () => {
  let root = ''
  let files = 0
  before(() => (root = mkdtempSync(join(tmpdir(), 'kith-filing-'))))
  after(() => rmSync(root, { recursive: true, force: true }))
  const path = (): string => join(root, `${files++}.db`)

  it('are there for every question, whether or not they were written before it', () => {
    using device = new Restarted(path())
    for (let i = 0; i < 3; i++) device.do('append')
    const rows = device.store.history(own.key, ALL)
    assert.deepEqual(
      rows.map((row) => (row.kind === 'reading' ? row.value : row.kind)),
      [0, 1, 2],
    )
  })

  it('are made at the next start where they were not written, once', () => {
    using device = new Restarted(path())
    for (let i = 0; i < 100; i++) device.do('append')
    device.startAgain()
    const [day] = device.store.history(own.key, { ...ALL, everyMs: 30 * DAY_MS })
    assert.ok(day?.kind === 'bucket')
    assert.equal(day.count, 100)
    device.startAgain()
    assert.equal(device.store.history(own.key, ALL).length, 100)
  })

  it('have the time that the log tells, also where the clock was lost in between', () => {
    using device = new Restarted(path())
    const steps: readonly Step[] = ['append', 'insert', 'append without a clock', 'start again']
    for (const step of [...steps, 'append' as const]) device.do(step)
    const rows = device.store.history(own.key, ALL)
    assert.deepEqual(
      rows.map((row) => (row.kind === 'reading' ? row.atMs - BOOT_MS : row.kind)),
      [1000, 2000, 3000],
    )
  })

  it('say the same as the packs, and the summaries too, in whatever order things happen', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...STEPS), { maxLength: 40 }), (steps) => {
        using device = new Restarted(path())
        for (const step of steps) device.do(step)
        // The clock is set now: whatever waited for it has its time.
        device.do('append')
        device.store.file()
        const rows = device.store.history(own.key, ALL)
        assert.deepEqual(
          rows.map((row) => (row.kind === 'reading' ? row.value : row.kind)),
          device.values,
        )
        const days = device.store.history(own.key, { ...ALL, everyMs: 30 * DAY_MS })
        const counted = days.reduce((sum, row) => sum + (row.kind === 'bucket' ? row.count : 0), 0)
        assert.equal(counted, device.values.length)
      }),
      { numRuns: 60 },
    )
  })
})
