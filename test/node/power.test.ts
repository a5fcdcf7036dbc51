import assert from 'node:assert/strict'
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, it } from 'node:test'

import { pino } from 'pino'

import { checkTextValue } from '../../node/config-values.ts'
import { readPackets } from '../../node/device/packets.ts'
import { powerReport } from '../../node/device/power.ts'
import { createSleeper, type SleeperDeps } from '../../node/device/sleeper.ts'
import { watchWakeFile } from '../../node/device/wake-file.ts'
import { systemClock } from '../../node/env.ts'
import { createEmitter } from '../../node/events.ts'
import type { WindowOptions, WindowReport } from '../../node/mesh/duty-mesh.ts'
import { MIGRATIONS } from '../../node/migrations.ts'
import { openDatabase } from '../../node/storage/db.ts'
import { openWakeStore, type Wake } from '../../node/storage/wakes.ts'
import { virtualClock } from '../helpers/clock.ts'

const PARENT = new Uint8Array(32).fill(1)
const NO_PARTS = { start: 0, connect: 0, log: 0, calls: 0, close: 0 }

function wakeOf(changes: Partial<Wake> = {}): Wake {
  return {
    atMs: 1_800_000_000_000,
    reason: 'period',
    outcome: 'done',
    parent: PARENT,
    processMs: 1000,
    connectedMs: 100,
    bytesIn: 1500,
    bytesOut: 3000,
    packetsIn: 20,
    packetsOut: 25,
    calls: 1,
    receipts: 1,
    packs: 2,
    parts: { start: 600, connect: 100, log: 100, calls: 150, close: 50 },
    ...changes,
  }
}

const SETTINGS = {
  mode: 'sleepy',
  period: 600_000,
  window: 2000,
  slack: 30_000,
  battery_mah: 2500,
  awake_ma: 180,
  asleep_ma: 0.5,
  wake_file: '',
} as const

const ledger = (...wakes: Wake[]) => ({ list: (limit: number) => wakes.slice(0, limit) })

describe('the ledger of wakes', () => {
  it('gives back what was written, the newest first', () => {
    const store = openWakeStore(openDatabase(':memory:', MIGRATIONS))
    assert.equal(store.last(), undefined)
    const alone = wakeOf({ outcome: 'alone', parent: undefined, parts: NO_PARTS })
    store.add(wakeOf())
    store.add(alone)
    assert.deepEqual(plain(store.list(10)), plain([alone, wakeOf()]))
    assert.equal(store.last()?.outcome, 'alone')
  })

  it('is bounded', () => {
    const store = openWakeStore(openDatabase(':memory:', MIGRATIONS))
    for (let i = 0; i < 1300; i++) store.add(wakeOf({ calls: i }))
    const kept = store.list(5000)
    assert.ok(kept.length >= 1000 && kept.length < 1100, String(kept.length))
    assert.equal(kept[0]?.calls, 1299)
  })
})

describe('the forecast', () => {
  it('is what the currents come to over a period', () => {
    const { forecast, mean } = powerReport(SETTINGS, ledger(wakeOf(), wakeOf()))
    // A second at 180 mA and 599 s at 0.5 mA, in 600 s.
    const meanMa = (180 * 1 + 0.5 * 599) / 600
    assert.ok(Math.abs((forecast.meanMa ?? 0) - meanMa) < 1e-9)
    assert.ok(Math.abs((forecast.days ?? 0) - 2500 / meanMa / 24) < 1e-6)
    assert.deepEqual(forecast.missing, [])
    assert.equal(mean?.bytesOut, 3000)
  })

  it('names what costs most, and shares that make one', () => {
    const { forecast } = powerReport(SETTINGS, ledger(wakeOf()))
    assert.deepEqual(
      forecast.costs.slice(0, 2).map(({ what }) => what),
      ['asleep', 'start'],
    )
    const all = forecast.costs.reduce((sum, { share }) => sum + share, 0)
    assert.ok(Math.abs(all - 1) < 1e-9)
  })

  it('counts the wakes between the periods', () => {
    const alarm = wakeOf({ reason: 'door' })
    const often = powerReport(SETTINGS, ledger(wakeOf(), alarm, alarm, alarm)).forecast
    const seldom = powerReport(SETTINGS, ledger(wakeOf())).forecast
    assert.ok((often.days ?? 0) < (seldom.days ?? 0))
    assert.ok(Math.abs((often.meanMa ?? 0) - (180 * 1 + 0.5 * 149) / 150) < 1e-9)
  })

  it('says what it was not told instead of guessing', () => {
    const settings = { ...SETTINGS, battery_mah: 0, asleep_ma: 0 }
    const { forecast } = powerReport(settings, ledger())
    assert.equal(forecast.days, undefined)
    assert.deepEqual(forecast.missing, ['power.battery_mah', 'power.asleep_ma', 'wakes'])
    const known = powerReport({ ...SETTINGS, battery_mah: 0 }, ledger(wakeOf())).forecast
    assert.equal(known.days, undefined)
    assert.ok((known.meanMa ?? 0) > 0)
  })

  it('takes currents with decimals from a person', () => {
    assert.deepEqual(checkTextValue('power.asleep_ma', '0.015'), { ok: true, value: 0.015 })
    assert.equal(checkTextValue('power.asleep_ma', '-1').ok, false)
    assert.equal(checkTextValue('power.asleep_ma', '1e9').ok, false)
  })
})

interface Told {
  options?: WindowOptions
}

/** A sleeper whose network does what `report` says, and what the window was opened with. */
function sleeperWith(report: Partial<WindowReport<unknown>>, mail: SleeperDeps['mail']) {
  const clock = virtualClock()
  const store = openWakeStore(openDatabase(':memory:', MIGRATIONS))
  const told: Told = {}
  const base = { error: undefined, cut: false, startMs: 300, connectMs: 40, closeMs: 5 }
  const traffic = { bytesIn: 11, bytesOut: 22, connectedMs: 33 }
  const order: string[] = []
  const mesh = {
    events: createEmitter<never>(() => undefined),
    async window<T>(options: WindowOptions, run: (signal: AbortSignal) => Promise<T>) {
      told.options = options
      const value = report.cut === true ? undefined : await run(new AbortController().signal)
      return { ...base, traffic, value, ...report } as WindowReport<T>
    },
  }
  let packets = 0
  const sleeper = createSleeper(
    {
      mesh,
      mail: {
        wake(...asked) {
          order.push('mail')
          return mail.wake(...asked)
        },
      },
      parents: () => ({ chosen: [PARENT], others: [] }),
      log: {
        first: Promise.resolve(),
        flush: () => void order.push('flush'),
        heads: () => ({ own: 9, theirs: 7 }),
      },
      wakes: store,
      packets: () => ({ received: (packets += 3), sent: packets * 2 }),
      settings: SETTINGS,
      clock,
      logger: pino({ level: 'silent' }),
    },
    new AbortController().signal,
  )
  return { clock, order, sleeper, store, told }
}

const DONE = { done: true, parent: PARENT, calls: 2, receipts: 1, logTaken: true }

describe('a window', () => {
  it('puts what was measured into the log before the mail, and its cost into the ledger', async () => {
    const { order, sleeper, store } = sleeperWith({}, { wake: async () => DONE })
    const wake = await sleeper.window('door')
    assert.deepEqual(order, ['flush', 'mail'])
    assert.deepEqual(
      [wake.outcome, wake.reason, wake.calls, wake.receipts, wake.packs],
      ['done', 'door', 2, 1, 2],
    )
    assert.deepEqual([wake.bytesIn, wake.bytesOut, wake.connectedMs], [11, 22, 33])
    assert.deepEqual([wake.packetsIn, wake.packetsOut], [3, 6])
    assert.deepEqual([wake.parts.start, wake.parts.connect, wake.parts.close], [300, 40, 5])
    assert.deepEqual(plain(store.last()), plain(wake))
  })

  it('goes on until the parent has the whole log', async () => {
    let asked = 0
    const mail = { wake: async () => ({ ...DONE, logTaken: ++asked === 3 }) }
    const { clock, sleeper } = sleeperWith({}, mail)
    const window = sleeper.window('period')
    await clock.advance(1000)
    const { calls, parts } = await window
    assert.equal(asked, 3)
    assert.deepEqual([calls, parts.log], [6, 60])
  })

  it('is told as what it was: alone, cut or failed', async () => {
    const mail = { wake: async () => DONE }
    const alone = sleeperWith({ connectMs: undefined, cut: true }, mail).sleeper
    assert.equal((await alone.window('period')).outcome, 'alone')
    assert.equal((await sleeperWith({ cut: true }, mail).sleeper.window('period')).outcome, 'cut')
    const failed = sleeperWith({ error: new Error('no') }, mail).sleeper
    assert.equal((await failed.window('period')).outcome, 'failed')
  })

  it('looks for parents by multicast at the first time, and after it was alone', async () => {
    const { sleeper, store, told } = sleeperWith({}, { wake: async () => DONE })
    await sleeper.window('period')
    assert.equal(told.options?.discover, true)
    await sleeper.window('period')
    assert.equal(told.options?.discover, false)
    store.add(wakeOf({ outcome: 'alone' }))
    await sleeper.window('period')
    assert.equal(told.options?.discover, true)
  })
})

describe('the file that wakes', () => {
  it('is an alarm when it is written, replaced or touched, with its first line as the reason', async () => {
    const dir = await mkdtemp(path.join(tmpdir(), 'kith-wake-'))
    const stop = new AbortController()
    try {
      const file = path.join(dir, 'alarm')
      await writeFile(file, 'old\n')
      let heard = Promise.withResolvers<string>()
      const log = pino({ level: 'silent' })
      const next = (reason: string): void => heard.resolve(reason)
      const ready = watchWakeFile(file, { clock: systemClock, log }, next, stop.signal)
      await ready
      await writeFile(file, 'door\u001B[2J open\nmore\n')
      assert.equal(await heard.promise, String.raw`door\u{1b}[2J open`)
      heard = Promise.withResolvers<string>()
      await writeFile(path.join(dir, 'new'), '')
      await rename(path.join(dir, 'new'), file)
      assert.equal(await heard.promise, 'file')
    } finally {
      stop.abort()
      await rm(dir, { recursive: true })
    }
  })
})

describe('packets', () => {
  it('are those of every interface but the loopback', async () => {
    const dir = await mkdtemp(path.join(tmpdir(), 'kith-dev-'))
    try {
      const file = path.join(dir, 'dev')
      const row = (name: string, ...fields: number[]): string => `  ${name}: ${fields.join(' ')}`
      await writeFile(
        file,
        [
          'Inter-|   Receive                                                |  Transmit',
          ' face |bytes    packets errs drop fifo frame compressed multicast|bytes packets errs',
          row('lo', 900, 9, 0, 0, 0, 0, 0, 0, 900, 9, 0),
          row('eth0', 100, 3, 0, 0, 0, 0, 0, 0, 200, 4, 0),
          row('wlan0', 100, 10, 0, 0, 0, 0, 0, 0, 200, 20, 0),
        ].join('\n'),
      )
      assert.deepEqual(readPackets(file), { received: 13, sent: 24 })
      assert.deepEqual(readPackets(path.join(dir, 'none')), { received: 0, sent: 0 })
    } finally {
      await rm(dir, { recursive: true })
    }
  })
})

/** Without prototypes: SQLite gives rows and bytes of its own. */
function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_key, one: unknown) => (one instanceof Uint8Array ? [...one] : one)),
  )
}
