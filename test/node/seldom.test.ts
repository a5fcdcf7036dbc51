import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import pino, { type Logger } from 'pino'

import { seldom } from '../../node/seldom.ts'
import { virtualClock, type VirtualClock } from '../helpers/clock.ts'
import { deviceOf, reading } from '../helpers/telemetry.ts'
import { memoryStore, startLogs } from '../helpers/telemetry-home.ts'

interface Line {
  readonly msg: string
  readonly level: number
  readonly times?: number
  readonly why?: string
  readonly err?: { readonly message: string; readonly stack: string }
  readonly waiting?: number
}

function listen(): { plain: Logger; log: Logger; lines: Line[]; clock: VirtualClock } {
  const clock = virtualClock()
  const lines: Line[] = []
  const out = { write: (text: string) => void lines.push(JSON.parse(text) as Line) }
  const plain = pino({ level: 'info' }, out)
  return { plain, log: seldom(plain, clock), lines, clock }
}

describe('a log for what goes wrong again and again', () => {
  it('tells the same failure at once, then once a minute, with how often it came', async () => {
    const { log, lines, clock } = listen()
    for (let second = 0; second < 150; second++) {
      log.error({ err: new Error('disk is full'), waiting: second }, 'readings cannot be kept')
      await clock.advance(1000)
    }
    assert.deepEqual(
      lines.map(({ level, times, waiting }) => [level, times, waiting]),
      [
        [50, undefined, 0],
        [50, 60, 60],
        [50, 60, 120],
      ],
    )
    assert.match(lines[0]?.err?.stack ?? '', /seldom\.test/)
    assert.equal(lines[1]?.err, undefined)
    assert.equal(lines[1]?.why, 'Error: disk is full')
  })

  it('tells a change at once, and each message by itself', () => {
    const { log, lines } = listen()
    for (const why of ['full', 'full', 'read-only', 'read-only', 'full']) {
      log.error({ err: new Error(why) }, 'readings cannot be kept')
      log.warn({ err: new Error('busy') }, 'rows cannot be written')
    }
    assert.deepEqual(
      lines.map(({ err, msg }) => `${msg}: ${err?.message}`),
      [
        'readings cannot be kept: full',
        'rows cannot be written: busy',
        'readings cannot be kept: read-only',
        'readings cannot be kept: full',
      ],
    )
  })

  it('leaves all else alone, also in its children', () => {
    const { log, lines } = listen()
    for (let i = 0; i < 3; i++) log.warn({ sensor: `s${i}` }, 'reading left out')
    log.info({ socket: 'x' }, 'ready')
    log.debug('quiet')
    log.child({ part: 'mesh' }).info('here')
    assert.deepEqual(
      lines.map(({ msg }) => msg),
      [...Array.from({ length: 3 }, () => 'reading left out'), 'ready', 'here'],
    )
  })
})

describe('a device whose disk refuses its readings', () => {
  it('says so once a minute', async () => {
    const { plain, lines, clock } = listen()
    const own = deviceOf('own')
    const store = memoryStore()
    let full = true
    const appendOwn: typeof store.appendOwn = (...args) => {
      if (full) throw new Error('database or disk is full')
      return store.appendOwn(...args)
    }
    const filling = new Proxy(store, {
      get: (target, name) => {
        if (name === 'appendOwn') return appendOwn
        const value: unknown = Reflect.get(target, name)
        return typeof value === 'function' ? (value.bind(target) as unknown) : value
      },
    })
    const part = await startLogs(own, clock, { store: filling, log: plain })
    for (let second = 0; second < 130; second++) {
      part.publish([reading({ atMs: clock.now() })], { now: true })
      await clock.advance(1000)
    }
    const told = lines.filter(({ msg }) => msg === 'readings cannot be kept')
    assert.equal(told.length, 3)
    assert.deepEqual(
      told.map(({ times = 0 }) => times >= 60),
      [false, true, true],
    )
    full = false
    assert.equal(part.flushNow(), true)
    await part[Symbol.asyncDispose]()
  })
})
