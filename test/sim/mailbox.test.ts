import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { BOUNDS, waits } from '../../protocols/mailbox/index.ts'
import { equalBytes, fromHex, toHex } from '../../protocols/wire/index.ts'
import {
  ask,
  crash,
  gossip,
  linked,
  newWorld,
  PERIOD_MS,
  SLACK_MS,
  wake,
  type CallDocument,
  type SimDevice,
  type World,
} from '../helpers/mail-world.ts'

const STEP_MS = 60_000
const YEAR_MS = 365 * 86_400_000
const NAMES = ['hub', 'server', 'phone', 'desk', 'sleeper-a', 'sleeper-b']

interface Run {
  readonly world: World
  readonly nextWakeMs: Map<string, number>
  /** Calls that their callers took back before anyone else had them. */
  readonly forgotten: Set<string>
  dead: SimDevice | undefined
}

/** Wrong by years, for one device of the seed at most; undefined for none. */
function wrongClock({ devices, dice }: World): SimDevice | undefined {
  if (dice.chance(0.5)) return undefined
  const device = devices[dice.below(devices.length)]
  if (device !== undefined) device.wallOffMs = (dice.chance(0.5) ? 1 : -1) * 3 * YEAR_MS
  return device
}

function step(run: Run): void {
  const { nextWakeMs, world } = run
  const { devices, dice } = world
  world.nowMs += STEP_MS
  for (const sleeper of devices.filter(({ sleepy, up }) => sleepy && up)) {
    if (sleeper.awake) for (const other of devices) other.outbox.left(sleeper.key)
    sleeper.awake = false
    if (world.nowMs < (nextWakeMs.get(sleeper.name) ?? 0)) continue
    nextWakeMs.set(sleeper.name, world.nowMs + PERIOD_MS)
    wake(world, sleeper)
  }
  if (dice.chance(0.3)) world.replays.splice(0, 2).forEach((again) => again())
  gossip(world)
  for (const { post, up } of devices) if (up) post.tick()
  checkPromises(world)
}

/** Whatever happens: nothing twice, and what is said of others is so. */
function checkPromises(world: World): void {
  for (const [id, times] of world.executed) assert.equal(times, 1, `${id}: ${times} times`)
  for (const device of world.devices) {
    checkHolders(world, device)
    if (device.up) checkAsleep(world, device)
  }
}

/** While a call counts, whoever is said to hold it has it on disk. */
function checkHolders({ calls, devices, nowMs }: World, { name, post }: SimDevice): void {
  for (const row of post.rows) {
    const caller = devices.find(({ key }) => equalBytes(key, row.caller))
    const document = calls.get(toHex(row.id))
    const ageMs = nowMs + (caller?.wallOffMs ?? 0) - (document?.issuedMs ?? 0)
    if (!waits(row) || ageMs >= row.ttlMs) continue
    for (const key of row.holders) {
      const holder = devices.find((other) => equalBytes(other.key, key))
      assert.ok(holder?.disk.rows.has(toHex(row.id)), `${holder?.name} has it, says ${name}`)
    }
  }
}

/** Whoever is said to be asleep woke not long ago, whatever the clocks say. */
function checkAsleep({ devices, lastWakeMs, nowMs }: World, device: SimDevice): void {
  for (const sleeper of devices.filter(({ sleepy }) => sleepy)) {
    const { state } = device.timetable.presence(sleeper.key, linked(device, sleeper), nowMs)
    const silentMs = nowMs - (lastWakeMs.get(sleeper.name) ?? 0)
    const limitMs = 2 * (PERIOD_MS + SLACK_MS)
    if (state !== 'asleep') continue
    assert.ok(silentMs <= limitMs, `${device.name}: asleep, and silent for ${silentMs} ms`)
  }
}

function trouble(run: Run): void {
  const { devices, dice } = run.world
  for (const device of devices) {
    if (device === run.dead) continue
    if (dice.chance(0.05)) device.side = dice.below(3)
    if (dice.chance(0.04)) crash(run.world, device, dice.chance(0.4))
    if (dice.chance(0.04)) device.up = !device.up
    if (!device.up) crash(run.world, device, false)
  }
  if (dice.chance(0.35)) askAtRandom(run)
}

function askAtRandom(run: Run): void {
  const { dead, world } = run
  const { devices, dice } = world
  const from = devices[dice.below(devices.length)]
  const to = devices[4 + dice.below(2)]
  if (from === undefined || to === undefined || from === to || from === dead || !from.up) return
  const ttlMs = dice.chance(0.2) ? 5 * STEP_MS : 30 * 86_400_000
  const made = ask(world, [from, to], { ttlMs, coalesced: dice.chance(0.4) })
  assert.ok(typeof made !== 'string', `refused with ${made as string}`)
  if (dice.chance(0.3)) takeBack(run, from)
}

/** Any call of this device, at any time. */
function takeBack({ forgotten, world }: Run, from: SimDevice): void {
  const own = [...world.calls.values()].filter(({ caller }) => caller === toHex(from.key))
  const old = own[world.dice.below(own.length)]
  const to = world.devices.find(({ key }) => toHex(key) === old?.to)
  if (old === undefined || to === undefined || old.cancels !== undefined) return
  if (from.post.forget(fromHex(old.id))) forgotten.add(old.id)
  else ask(world, [from, to], { ttlMs: 30 * 86_400_000, cancels: old.id })
}

function calm({ dead, world }: Run): void {
  world.trouble = 0
  for (const device of world.devices) {
    device.side = 0
    device.up = device !== dead
    for (const other of world.devices) other.outbox.left(device.key)
  }
}

function chaos(seed: number): { run: Run; wrong: SimDevice | undefined } {
  const world = newWorld(seed, NAMES)
  const { devices, dice } = world
  const run: Run = { world, nextWakeMs: new Map(), forgotten: new Set(), dead: undefined }
  const wrong = wrongClock(world)
  world.trouble = [0, 0.05, 0.2][dice.below(3)] ?? 0
  for (const device of devices) crash(world, device, false)
  for (let at = 0; at < 70; at++) {
    trouble(run)
    // One holder dies for good, with its disk.
    if (at === 35 && dice.chance(0.4)) {
      run.dead = devices[dice.below(2)]
      if (run.dead !== undefined) run.dead.up = false
    }
    step(run)
  }
  calm(run)
  // Dead parents are found dead, and mail moves to others.
  for (let at = 0; at < 60; at++) step(run)
  return { run, wrong }
}

/** When every time is over nothing is left of all that on any disk. */
function muchLater({ world }: Run): void {
  world.nowMs += 60 * 86_400_000
  for (const device of world.devices) {
    device.post.tick()
    assert.equal(device.disk.rows.size, 0, device.name)
  }
}

/** What its caller knows of a call in the end. */
function outcome({ forgotten, world }: Run, { caller, id }: CallDocument): string {
  const device = world.devices.find(({ key }) => toHex(key) === caller)
  if (forgotten.has(id)) return 'forgotten'
  return device?.disk.receipts.get(id) ?? device?.endings.get(id) ?? 'waiting'
}

/** Held against what really happened. */
function checkOutcomes(run: Run, wrong: SimDevice | undefined): void {
  const { calls, executed } = run.world
  for (const document of calls.values()) {
    const { caller, cancels, coalesced, id, to, ttlMs } = document
    if (run.dead !== undefined && toHex(run.dead.key) === caller) continue
    const said = outcome(run, document)
    const where = `${id.slice(0, 8)} ${said}`
    const times = executed.get(id) ?? 0
    if (cancels === undefined) assert.equal(times, said === 'done' ? 1 : 0, where)
    assert.notEqual(said, 'waiting', where)
    const clocks = wrong !== undefined && [caller, to].includes(toHex(wrong.key))
    if (ttlMs < PERIOD_MS || clocks) continue
    const fine = ['done', 'cancelled', 'forgotten', ...(coalesced ? ['superseded'] : [])]
    assert.ok(fine.includes(said), where)
  }
}

function checkLastWins(run: Run, wrong: SimDevice | undefined): void {
  const { dead, world } = run
  const { calls, devices, values } = world
  const takenBack = (one: CallDocument): boolean =>
    ['cancelled', 'forgotten'].includes(outcome(run, one))
  for (const device of devices) {
    for (const sleeper of devices.filter(({ sleepy }) => sleepy)) {
      if (wrong === device || wrong === sleeper || dead === device) continue
      const from = (one: CallDocument): boolean =>
        one.coalesced && one.caller === toHex(device.key) && one.to === toHex(sleeper.key)
      const wanted = [...calls.values()].findLast(from)
      const acted = values.filter(from).map(({ issuedMs }) => issuedMs)
      assert.deepEqual(
        acted,
        acted.toSorted((a, b) => a - b),
        'never back to an older value',
      )
      if (wanted === undefined || wanted.ttlMs < PERIOD_MS || takenBack(wanted)) continue
      const last = acted.at(-1) ?? 0
      assert.ok(last >= wanted.issuedMs, `${device.name} to ${sleeper.name}: the last one counts`)
    }
  }
}

function checkAllWell({ dead, world }: Run): void {
  const [all, sleepers] = [world.devices, world.devices.filter(({ sleepy }) => sleepy)]
  for (const { name, timetable } of all.filter((one) => one !== dead && !one.sleepy)) {
    for (const sleeper of sleepers) {
      const { state } = timetable.presence(sleeper.key, false, world.nowMs)
      assert.equal(state, 'asleep', `${sleeper.name}, as ${name} sees it`)
    }
  }
}

describe('a home with sleepers, in trouble', () => {
  it('does each call once or says truly why not, tells its caller, and knows who is there', () => {
    let [made, done, dead] = [0, 0, 0]
    for (let seed = 1; seed <= 220; seed++) {
      const { run, wrong } = chaos(seed)
      try {
        checkAllWell(run)
        muchLater(run)
        checkOutcomes(run, wrong)
        checkLastWins(run, wrong)
      } catch (error) {
        throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error })
      }
      made += run.world.calls.size
      done += run.world.executed.size
      if (run.dead !== undefined) dead++
    }
    assert.ok(made > 2_500 && done > made / 3 && dead > 60, `${made} calls, ${done} done, ${dead}`)
  })
})

describe('a flood', () => {
  it('by one member leaves room for the calls of others, and drops nothing', () => {
    const world = newWorld(1, NAMES)
    const [hub, server, phone, desk, sleeper] = world.devices
    assert.ok(hub && server && phone && desk && sleeper)
    wake(world, sleeper)
    const text = 'x'.repeat(7_000)
    const first = ask(world, [desk, sleeper], { ttlMs: YEAR_MS / 100 })
    const flood: (CallDocument | string)[] = []
    for (let at = 0; at < 1_000; at++) {
      flood.push(ask(world, [phone, sleeper], { ttlMs: YEAR_MS / 100, text }))
    }
    gossip(world)
    const second = ask(world, [desk, sleeper], { ttlMs: YEAR_MS / 100 })
    gossip(world)
    assert.equal(flood.at(-1), 'MAILBOX_BUSY')
    const kept = flood.filter((one) => typeof one !== 'string')
    assert.equal(kept.length, BOUNDS.maxPerPair)
    assert.ok(hub.disk.rows.size >= BOUNDS.maxPerPair)
    world.nowMs += PERIOD_MS
    wake(world, sleeper)
    for (const one of [first, second, ...kept]) {
      assert.ok(typeof one !== 'string')
      assert.equal(world.executed.get(one.id), 1)
    }
  })
})
