import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { pino } from 'pino'

import type { RuleSettings } from '../../node/config-rules.ts'
import { NodeError } from '../../node/errors.ts'
import {
  BUDGET,
  FRESH_MS,
  MAX_RUNNING,
  startRules,
  type Measured,
  type RemoteReading,
  type RuleFailure,
  type RuleOutcome,
  type RulesDeps,
  type RuleWish,
} from '../../node/services/rules/index.ts'
import { equalBytes, toHex } from '../../protocols/wire/index.ts'
import { virtualClock, type VirtualClock } from '../helpers/clock.ts'
import { deviceOf } from '../helpers/telemetry.ts'

const self = deviceOf('self').key
const lamp = deviceOf('lamp').key
const button = deviceOf('button').key
const DONE: RuleOutcome = { state: 'executed', receipt: { status: 'done' } }

function ruleOf(changes: Partial<RuleSettings> = {}): RuleSettings {
  return {
    name: 'light',
    enabled: true,
    when: { sensor: 'button', equals: 1 },
    calls: [{ device: 'lamp', verb: 'invoke', name: 'toggle' }],
    ...changes,
  }
}

interface Home {
  readonly rules?: readonly RuleSettings[]
  readonly call?: RulesDeps['call']
  readonly before?: RulesDeps['before']
  readonly logged?: RulesDeps['logged']
}

/** `timers` has those that are set and have neither fired nor been cancelled. */
function counted(clock: VirtualClock, timers: Set<() => void>): VirtualClock {
  return {
    ...clock,
    timer(ms, then) {
      const fire = (): void => {
        timers.delete(fire)
        then()
      }
      timers.add(fire)
      const cancel = clock.timer(ms, fire)
      return () => {
        timers.delete(fire)
        cancel()
      }
    },
  }
}

/** One listener each, because one service listens. */
function start({ rules = [ruleOf()], ...changes }: Home = {}) {
  const timers = new Set<() => void>()
  const clock = counted(virtualClock(), timers)
  const names = new Map([
    ['self', self],
    ['lamp', lamp],
    ['button', button],
  ])
  const wishes: RuleWish[] = []
  const failures: RuleFailure[] = []
  const listeners = new Set<string>()
  let measure: ((value: Measured) => void) | undefined
  let read: ((reading: RemoteReading) => void) | undefined
  let leave: ((device: Uint8Array) => void) | undefined
  const listening = (name: string) => {
    listeners.add(name)
    return () => void listeners.delete(name)
  }
  const stop = new AbortController()
  const service = startRules(
    {
      rules,
      self,
      clock,
      log: pino({ enabled: false }),
      resolve: (name) => names.get(name),
      onMeasured: (listener) => ((measure = listener), listening('measured')),
      onReading: (listener) => ((read = listener), listening('reading')),
      onGone: (listener) => ((leave = listener), listening('gone')),
      before: changes.before ?? (() => undefined),
      logged: changes.logged ?? (() => 7),
      call: async (wish, signal) => {
        wishes.push(wish)
        return (await changes.call?.(wish, signal)) ?? DONE
      },
      onFailed: (failure) => failures.push(failure),
    },
    stop.signal,
  )
  const settle = () => clock.advance(0)
  return {
    clock,
    names,
    wishes,
    failures,
    listeners,
    timers,
    service,
    stop,
    press: async (...values: readonly (number | string | boolean)[]) => {
      for (const value of values) {
        measure?.({ sensor: 'button', value, atMs: clock.now() })
        await settle()
      }
    },
    measureNow: (value: number) => measure?.({ sensor: 'button', value, atMs: clock.now() }),
    hear: async (value: number, different: Partial<RemoteReading> = {}) => {
      const place = { device: button, sensor: 'button', seq: 3, atMs: clock.now() }
      read?.({ ...place, value, ...different })
      await settle()
    },
    leaves: async (device: Uint8Array) => {
      leave?.(device)
      await settle()
    },
  }
}

const remote = ruleOf({ when: { device: 'button', sensor: 'button', equals: 1 } })

describe('a rule of this device', () => {
  it('calls when its own sensor says so, with the reading as the cause', async () => {
    const { press, wishes, clock, failures } = start()
    await press(0, 1)
    const cause = { rule: 'light', device: self, sensor: 'button', seq: 7, value: 1 }
    assert.deepEqual(wishes, [
      { to: lamp, verb: 'invoke', name: 'toggle', cause: { ...cause, atMs: clock.now() } },
    ])
    assert.deepEqual(failures, [])
  })

  it('calls this device where it names none, with its arguments', async () => {
    const args = { level: 3 }
    const calls = [{ verb: 'write', name: 'on', args, ttlMs: 5000 }] as const
    const { press, wishes } = start({ rules: [ruleOf({ calls })] })
    await press(0, 1)
    const [{ cause: _, ...wish } = { cause: undefined }] = wishes
    assert.deepEqual(wish, { to: self, verb: 'write', name: 'on', args, ttlMs: 5000 })
  })

  it('hears what is measured here under its own name too, once', async () => {
    const named = ruleOf({ when: { device: 'self', sensor: 'button', equals: 1 } })
    const { press, hear, wishes } = start({ rules: [named] })
    await press(0, 1)
    await hear(0, { device: self })
    await hear(1, { device: self })
    assert.equal(wishes.length, 1)
  })

  it('is left alone by other sensors, other devices and when it is off', async () => {
    const { press, hear, wishes, service } = start({
      rules: [ruleOf({ enabled: false }), ruleOf({ name: 'b', when: { sensor: 'x', equals: 1 } })],
    })
    await press(0, 1)
    await hear(0)
    await hear(1)
    assert.deepEqual(wishes, [])
    assert.deepEqual(service.list(), [
      { name: 'light', enabled: false },
      { name: 'b', enabled: true },
    ])
  })

  it('goes on from the log after a restart', async () => {
    const held = start({ before: () => 1 })
    await held.press(1)
    assert.equal(held.wishes.length, 0)
    await held.press(0, 1)
    assert.equal(held.wishes.length, 1)

    const began = start({ before: (device) => (equalBytes(device, self) ? 0 : 1) })
    await began.press(1)
    assert.equal(began.wishes.length, 1)
  })

  it('fires by time alone once its condition has held for long enough', async () => {
    const when = { sensor: 'button', equals: 1, forMs: 5000 }
    const { press, wishes, clock, service } = start({ rules: [ruleOf({ when })] })
    await press(0, 1)
    await clock.advance(4000)
    assert.equal(wishes.length, 0)
    await clock.advance(1001)
    assert.equal(wishes.length, 1)
    assert.deepEqual(service.list()[0]?.firedAtMs, clock.now())
  })

  it('puts the reading into the log only once all who listen were told', async () => {
    let told = false
    const { press, wishes, measureNow } = start({ logged: () => (told ? 8 : 0) })
    await press(0)
    measureNow(1)
    told = true
    await press(1)
    assert.equal(wishes[0]?.cause.seq, 8)
  })

  it('has a cause without a pack where the reading could not be logged', async () => {
    const logged = () => {
      throw new Error('disk full')
    }
    const { press, wishes } = start({ logged })
    await press(0, 1)
    assert.equal(wishes[0]?.cause.seq, 0)
  })
})

describe('a rule about another device', () => {
  it('fires by its verified readings, with their pack in the cause', async () => {
    const { hear, wishes, clock } = start({ rules: [remote] })
    await hear(0)
    await hear(1)
    const cause = { rule: 'light', device: button, sensor: 'button', seq: 3, value: 1 }
    assert.deepEqual(wishes[0]?.cause, { ...cause, atMs: clock.now() })
  })

  it('does not count old readings, and none from before the newest', async () => {
    const { hear, wishes, clock } = start({ rules: [remote] })
    await hear(0)
    const nowMs = clock.now()
    await hear(1, { atMs: nowMs - FRESH_MS - 1 })
    await hear(1, { atMs: nowMs + FRESH_MS + 1 })
    await hear(1, { atMs: nowMs - 1 })
    assert.equal(wishes.length, 0)
    await hear(1)
    assert.equal(wishes.length, 1)
  })

  it('does not fire for time that passed while the device was away', async () => {
    const when = { device: 'button', sensor: 'button', equals: 1, forMs: 5000 }
    const { hear, leaves, wishes, clock } = start({ rules: [ruleOf({ when })] })
    await hear(0)
    await hear(1)
    await leaves(button)
    await clock.advance(60_000)
    assert.equal(wishes.length, 0)
    await hear(1)
    await leaves(lamp)
    await clock.advance(5001)
    assert.equal(wishes.length, 1)
  })

  it('tells that there is no such device, and works once there is', async () => {
    const when = { device: 'shed', sensor: 'button', equals: 1 }
    const { hear, wishes, failures, names } = start({ rules: [ruleOf({ when })] })
    assert.deepEqual(failures, [{ rule: 'light', device: 'shed', why: 'no-device' }])
    names.set('shed', button)
    await hear(0)
    await hear(1)
    assert.equal(wishes.length, 1)
  })

  it('begins anew when its name went to another device', async () => {
    const { hear, wishes, names } = start({ rules: [remote] })
    await hear(0)
    names.set('button', lamp)
    await hear(1)
    await hear(1, { device: lamp })
    assert.equal(wishes.length, 0)
    await hear(0, { device: lamp })
    await hear(1, { device: lamp })
    assert.deepEqual(
      wishes.map(({ cause }) => toHex(cause.device)),
      [toHex(lamp)],
    )
  })
})

describe('a call that does not work', () => {
  it('is told by the status of its receipt, and stops no other', async () => {
    const calls = [
      { device: 'lamp', verb: 'invoke', name: 'toggle' },
      { device: 'lamp', verb: 'invoke', name: 'blink' },
    ] as const
    const { press, wishes, failures } = start({
      rules: [ruleOf({ calls })],
      call: async ({ name }) =>
        name === 'toggle' ? { state: 'executed', receipt: { status: 'denied' } } : DONE,
    })
    await press(0, 1)
    assert.deepEqual(
      wishes.map(({ name }) => name),
      ['toggle', 'blink'],
    )
    assert.deepEqual(failures, [{ rule: 'light', device: 'lamp', name: 'toggle', why: 'denied' }])
  })

  it('is told by the code of the error, and nothing is thrown', async () => {
    const { press, failures } = start({
      call: () => Promise.reject(new NodeError('NODE_TIMEOUT', 'late')),
    })
    await press(0, 1)
    assert.deepEqual(
      failures.map(({ why }) => why),
      ['NODE_TIMEOUT'],
    )
  })

  it('is none where a sleeper will get it', async () => {
    const { press, failures } = start({ call: async () => ({ state: 'held' }) })
    await press(0, 1)
    assert.deepEqual(failures, [])
  })

  it('is told where there is no device of the name', async () => {
    const calls = [{ device: 'shed', verb: 'invoke', name: 'open' }] as const
    const { press, failures, wishes } = start({ rules: [ruleOf({ calls })] })
    await press(0, 1)
    assert.deepEqual(failures, [{ rule: 'light', device: 'shed', name: 'open', why: 'no-device' }])
    assert.deepEqual(wishes, [])
  })

  it('holds up no other device, and its own in order', async () => {
    const slow = Promise.withResolvers<RuleOutcome>()
    const calls = [
      { device: 'lamp', verb: 'invoke', name: 'first' },
      { device: 'lamp', verb: 'invoke', name: 'second' },
      { device: 'button', verb: 'invoke', name: 'other' },
    ] as const
    const { press, wishes } = start({
      rules: [ruleOf({ calls })],
      call: ({ name }) => (name === 'first' ? slow.promise : Promise.resolve(DONE)),
    })
    await press(0, 1)
    assert.deepEqual(
      wishes.map(({ name }) => name),
      ['first', 'other'],
    )
    slow.resolve(DONE)
    await press(0)
    assert.deepEqual(
      wishes.map(({ name }) => name),
      ['first', 'other', 'second'],
    )
  })

  it('lets few others begin while it hangs', async () => {
    const { press, wishes, failures, service } = start({
      call: (_, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
        }),
    })
    for (let i = 0; i <= MAX_RUNNING; i++) await press(0, 1)
    assert.equal(wishes.length, MAX_RUNNING)
    assert.deepEqual(failures, [{ rule: 'light', why: 'busy' }])
    await service[Symbol.asyncDispose]()
    assert.equal(failures.length, 1)
  })
})

describe('rules that lead back to themselves', () => {
  it('go on at the pace of their budget, and say so once', async () => {
    const rule = ruleOf({ when: { sensor: 'button', changes: true } })
    let home: ReturnType<typeof start> | undefined
    let turns = 0
    // What is called sets the sensor that the rule is about.
    home = start({
      rules: [rule],
      call: () => {
        if (++turns < 1000) setImmediate(() => void home?.press(turns))
        return Promise.resolve(DONE)
      },
    })
    await home.press(-2, -1)
    // Each turn of the circle takes a few turns of the event loop.
    for (let i = 0; i < 2 * BUDGET.burst; i++) await home.clock.advance(0)
    assert.equal(home.wishes.length, BUDGET.burst)
    assert.deepEqual(home.failures, [{ rule: 'light', why: 'budget' }])
  })
})

describe('rules that are stopped', () => {
  it('listen no more, and no timer is left', async () => {
    const when = { sensor: 'button', equals: 1, forMs: 5000 }
    const { press, wishes, clock, listeners, timers, service } = start({
      rules: [ruleOf({ when })],
    })
    await press(0, 1)
    assert.deepEqual([listeners.size, timers.size], [3, 1])
    await service[Symbol.asyncDispose]()
    assert.deepEqual([listeners.size, timers.size], [0, 0])
    await press(0, 1)
    await clock.advance(10_000)
    assert.equal(wishes.length, 0)
  })
})
