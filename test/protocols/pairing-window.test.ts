import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import { createWindowStore, migration } from '../../node/storage/counters.ts'
import { openDatabase } from '../../node/storage/db.ts'
import { openWindow, WINDOW, type WindowStore } from '../../protocols/pairing/index.ts'
import { virtualClock } from '../helpers/clock.ts'
import { candidateOf, codesOf, meet, memberOf, memoryStore } from '../helpers/pairing.ts'
import { seededRandom } from '../helpers/random.ts'

const TOO_OFTEN = { code: 'PAIRING_TOO_OFTEN' }
const CLOSED = { code: 'PAIRING_CLOSED' }

const open = (store: WindowStore, clock = virtualClock()) =>
  openWindow({ clock, random: seededRandom('window'), store })

describe('a pairing window', () => {
  it('has five tries, each on disk before it may be used', () => {
    const store = memoryStore()
    const window = open(store)
    for (let tries = 1; tries <= 5; tries++) {
      window.spend()
      assert.equal(store.records.at(-1)?.tries, tries)
      assert.equal(window.triesLeft, 5 - tries)
    }
    assert.throws(() => window.spend(), CLOSED)
    assert.equal(store.records.at(-1)?.tries, 5)
    assert.equal(window.state, 'spent')
    assert.equal(window.claim(), true, 'the fifth try may be the right one')
  })

  it('lasts ten minutes, whatever the wall clock says', async () => {
    const clock = virtualClock()
    const window = open(memoryStore(), clock)
    await clock.advance(WINDOW.openMs - 1)
    clock.setWall(0)
    window.requireOpen()
    assert.equal(window.remainingMs, 1)
    await clock.advance(1)
    assert.equal(window.state, 'expired')
    assert.equal(window.claim(), false)
    assert.throws(() => window.spend(), CLOSED)
    assert.deepEqual(codesOf(await meet(memberOf(window), candidateOf(window))), [
      'PAIRING_CLOSED',
      'PAIRING_CLOSED',
    ])
  })

  it('is claimed once', () => {
    const window = open(memoryStore())
    assert.deepEqual([window.claim(), window.claim(), window.state], [true, false, 'used'])
    window.close()
    assert.equal(window.state, 'used')
    assert.throws(() => window.requireOpen(), CLOSED)
  })

  it('is over once it is closed', () => {
    const window = open(memoryStore())
    window.close()
    assert.deepEqual([window.claim(), window.state, window.remainingMs], [false, 'closed', 0])
  })

  it('has another code each time', () => {
    const store = memoryStore()
    const random = seededRandom('two')
    const [a, b] = [1, 2].map(() => openWindow({ clock: virtualClock(), random, store }))
    assert.notDeepEqual(a?.code, b?.code)
    assert.notDeepEqual(a?.qrSecret, b?.qrSecret)
  })
})

describe('windows an hour', () => {
  it('are three, and the fourth says when', () => {
    const store = memoryStore()
    for (let i = 0; i < 3; i++) {
      open(store)
      store.uptime += 60_000
    }
    assert.throws(() => open(store), { ...TOO_OFTEN, retryInMs: WINDOW.perMs - 180_000 })
    store.uptime += WINDOW.perMs - 180_001
    assert.throws(() => open(store), TOO_OFTEN)
    store.uptime += 1
    open(store)
    assert.throws(() => open(store), { ...TOO_OFTEN, retryInMs: 60_000 })
  })

  it('are not more after the machine restarts, until it has run for an hour', () => {
    const store = memoryStore()
    for (let i = 0; i < 3; i++) open(store)
    store.uptime = 5000
    assert.throws(() => open(store), { ...TOO_OFTEN, retryInMs: WINDOW.perMs - 5000 })
    store.uptime = WINDOW.perMs
    open(store)
  })

  it('are not opened where the opening cannot be written down', () => {
    const store = memoryStore()
    store.save = () => {
      throw new Error('disk full')
    }
    assert.throws(() => open(store), /disk full/)
  })

  it('are never more than three in any real hour, under any restarts', () => {
    const step = fc.record({
      afterMs: fc.integer({ min: 0, max: 2_000_000 }),
      restart: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const store = memoryStore()
        const opened: number[] = []
        let real = 0
        for (const { afterMs, restart } of steps) {
          real += afterMs
          // The machine was off for a part of the time, and counts from zero since.
          store.uptime = restart ? Math.floor(afterMs / 2) : store.uptime + afterMs
          try {
            open(store)
            opened.push(real)
          } catch {
            // Too often.
          }
        }
        for (const at of opened) {
          const within = opened.filter((other) => other >= at && other < at + WINDOW.perMs)
          assert.ok(within.length <= WINDOW.maxWindows)
        }
      }),
    )
  })
})

describe('the counters on disk', () => {
  function withFile(run: (path: string) => void): void {
    const folder = mkdtempSync(joinPath(tmpdir(), 'kith-counters-'))
    try {
      run(joinPath(folder, 'kith.db'))
    } finally {
      rmSync(folder, { recursive: true })
    }
  }

  it('survive the end of the process, and count on', () => {
    withFile((path) => {
      for (let i = 0; i < 3; i++) {
        const db = openDatabase(path, [migration])
        const window = open(createWindowStore(db, { id: 'a', uptimeMs: () => 1000.7 + i }))
        window.spend()
        db.close()
      }
      const db = openDatabase(path, [migration])
      const store = createWindowStore(db, { id: 'a', uptimeMs: () => 1010 })
      assert.deepEqual(store.load(), [
        { openedUptimeMs: 1000, tries: 1 },
        { openedUptimeMs: 1001, tries: 1 },
        { openedUptimeMs: 1002, tries: 1 },
      ])
      assert.throws(() => open(store), TOO_OFTEN)
      db.close()
    })
  })

  it('count windows of an earlier boot as old as this boot, and no older', () => {
    const db = openDatabase(':memory:', [migration])
    const at = (id: string, uptime: number) => createWindowStore(db, { id, uptimeMs: () => uptime })
    for (let i = 0; i < 3; i++) open(at('a', 9_000_000))
    assert.throws(() => open(at('a', 9_000_001)), { ...TOO_OFTEN, retryInMs: WINDOW.perMs - 1 })
    // The uptime at which they were opened says nothing about the next boot.
    assert.throws(() => open(at('b', 1000)), { ...TOO_OFTEN, retryInMs: WINDOW.perMs - 1000 })
    db.close()
  })

  it('do not count against a boot that has lasted an hour, whatever its uptime', () => {
    const db = openDatabase(':memory:', [migration])
    const at = (id: string, uptime: number) => createWindowStore(db, { id, uptimeMs: () => uptime })
    for (let i = 0; i < 3; i++) open(at('a', 9_000_000))
    open(at('b', 9_000_001))
    db.close()
  })

  it('hold every try that was spent before a kill -9', () => {
    withFile((path) => {
      const url = (file: string) => JSON.stringify(new URL(`../../${file}`, import.meta.url).href)
      const script = `
        const { createWindowStore, migration } = await import(${url('node/storage/counters.ts')})
        const { openDatabase } = await import(${url('node/storage/db.ts')})
        const { systemClock, systemRandom } = await import(${url('node/env.ts')})
        const { openWindow } = await import(${url('protocols/pairing/index.ts')})
        const store = createWindowStore(openDatabase(${JSON.stringify(path)}, [migration]))
        const window = openWindow({ clock: systemClock, random: systemRandom, store })
        window.spend()
        window.spend()
        process.kill(process.pid, 'SIGKILL')`
      const { signal, stderr } = spawnSync(
        process.execPath,
        ['--input-type=module', '--eval', script],
        { encoding: 'utf8' },
      )
      assert.equal(signal, 'SIGKILL', stderr)
      const db = openDatabase(path, [migration])
      assert.deepEqual(
        createWindowStore(db)
          .load()
          .map(({ tries }) => tries),
        [2],
      )
      db.close()
    })
  })

  it('read the time since the machine started by themselves, in whole milliseconds', () => {
    const db = openDatabase(':memory:', [migration])
    const store = createWindowStore(db)
    const before = store.uptimeMs()
    assert.ok(Number.isSafeInteger(before) && before > 0)
    assert.ok(store.uptimeMs() >= before)
    db.close()
  })

  it('are left as they were where the new ones cannot be kept', () => {
    const db = openDatabase(':memory:', [migration])
    const store = createWindowStore(db, { id: 'a', uptimeMs: () => 1000 })
    store.save([{ openedUptimeMs: 5, tries: 2 }])
    assert.throws(() => store.save([{ openedUptimeMs: -1, tries: 0 }]))
    assert.deepEqual(store.load(), [{ openedUptimeMs: 5, tries: 2 }])
    db.close()
  })
})
