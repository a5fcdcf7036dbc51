import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { pino } from 'pino'

import { MIGRATIONS } from '../../node/migrations.ts'
import { startMailbox, type Mailbox } from '../../node/services/mailbox/index.ts'
import { openDatabase } from '../../node/storage/db.ts'
import { openMailStore, openMissedStore, openScheduleStore } from '../../node/storage/mailbox.ts'
import type { Signer } from '../../protocols/identity/index.ts'
import { equalBytes, fromHex, toHex } from '../../protocols/wire/index.ts'
import { virtualClock, type VirtualClock } from '../helpers/clock.ts'
import { readCall, readReceipt } from '../helpers/mail-world.ts'
import { MemoryNetwork } from '../helpers/memory-mesh.ts'
import { CONTEXT, deviceOf } from '../helpers/telemetry.ts'
import { timeOf } from '../helpers/time.ts'

interface Room {
  readonly clock: VirtualClock
  readonly network: MemoryNetwork
  readonly devices: Map<string, Device>
}

interface Device {
  readonly signer: Signer
  readonly mailbox: Mailbox
  readonly did: string[]
  readonly settled: string[]
  stop(): Promise<void>
}

interface Home extends Room {
  readonly get: (name: string) => Device
}

type Db = ReturnType<typeof openDatabase>

const SETTINGS = { periodMs: 600_000, windowMs: 2_000, slackMs: 30_000 }

async function deviceIn(home: Room, name: string, db?: Db): Promise<Device> {
  const { clock, devices, network } = home
  const signer = deviceOf(name)
  const mode = name.startsWith('sleeper') ? 'sleepy' : 'powered'
  const disk = db ?? openDatabase(':memory:', MIGRATIONS)
  const [did, settled]: [string[], string[]] = [[], []]
  const holds = (key: Uint8Array): boolean =>
    ['hub', 'server', 'phone', 'spare'].some((one) => equalBytes(deviceOf(one).key, key))
  const mailbox = await startMailbox(
    {
      ...CONTEXT,
      mesh: network.join(signer.key),
      mail: openMailStore(disk),
      scheduleStore: openScheduleStore(disk),
      missed: openMissedStore(disk),
      signer,
      settings: { mode, ...SETTINGS },
      time: timeOf(clock),
      clock,
      log: pino({ enabled: false }),
      read: readCall,
      readReceipt,
      isMember: () => true,
      mayCall: () => true,
      mayHold: holds,
      candidates: () => [...devices.values()].map((one) => one.signer.key).filter(holds),
      logHead: () => 0,
      onLog: () => () => undefined,
      deliver: (calls) => {
        did.push(...calls.map((bytes) => toHex(readCall(bytes).id)))
        return Promise.resolve(calls.map((bytes) => receiptFor(bytes)))
      },
      settled: (receipt) => void settled.push(toHex(readReceipt(receipt).call)),
    },
    new AbortController().signal,
  )
  const device = { signer, mailbox, did, settled, stop: async () => mailbox[Symbol.asyncDispose]() }
  devices.set(name, device)
  return device
}

function json(value: object): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value))
}

function receiptFor(bytes: Uint8Array): Uint8Array {
  const { caller, id, to } = readCall(bytes)
  return json({ call: toHex(id), caller: toHex(caller), callee: toHex(to), status: 'done' })
}

function callTo(to: Device, from: Device, number: number) {
  const id = new Uint8Array(32).fill(number)
  const rest = { issuedMs: 1_800_000_000_000 + number, ttlMs: 86_400_000 }
  const [caller, callee] = [from.signer.key, to.signer.key]
  const bytes = json({ id: toHex(id), caller: toHex(caller), to: toHex(callee), ...rest })
  return { bytes, id, to: callee, caller, ...rest }
}

async function room(names: readonly string[]): Promise<Home> {
  const clock = virtualClock()
  const made: Room = { clock, network: new MemoryNetwork(clock), devices: new Map() }
  for (const name of names) await deviceIn(made, name)
  const get = (name: string): Device => {
    const device = made.devices.get(name)
    assert.ok(device)
    return device
  }
  return { ...made, get }
}

/** One window in which the sleeper reaches `names`. */
async function window(home: Home, names: readonly string[]) {
  const { clock, get, network } = home
  const sleeper = get('sleeper')
  for (const name of names) network.connect(sleeper.signer.key, get(name).signer.key)
  const run = sleeper.mailbox.wake('timer', new AbortController().signal)
  await clock.advance(4_000)
  const result = await run
  for (const name of names) network.disconnect(sleeper.signer.key, get(name).signer.key)
  await clock.advance(1)
  return result
}

function connect(home: Home, a: string, b: string): void {
  home.network.connect(home.get(a).signer.key, home.get(b).signer.key)
}

describe('a mailbox', () => {
  it('holds a call on two members, delivers it in the next window and brings its receipt', async () => {
    const home = await room(['hub', 'server', 'phone', 'sleeper'])
    const { clock, get } = home
    const [phone, sleeper] = [get('phone'), get('sleeper')]
    connect(home, 'hub', 'server')
    connect(home, 'phone', 'hub')
    const first = await window(home, ['hub', 'server'])
    assert.deepEqual([first.done, first.calls], [true, 0])
    assert.equal(phone.mailbox.presence(sleeper.signer.key).state, 'asleep')
    assert.ok(phone.mailbox.sleeps(sleeper.signer.key))
    assert.equal((await phone.mailbox.hold(callTo(sleeper, phone, 1))).state, 'queued')
    await clock.advance(1)
    const view = phone.mailbox.find(new Uint8Array(32).fill(1))
    assert.equal(view?.state, 'held')
    assert.equal(view?.deliversByMs, phone.mailbox.presence(sleeper.signer.key).deliversByMs)
    await get('phone').stop()
    home.network.disconnect(phone.signer.key, get('hub').signer.key)
    // The one that took it from the caller is gone: the other parent has it too.
    home.network.disconnect(get('hub').signer.key, get('server').signer.key)
    await get('hub').stop()
    const second = await window(home, ['server'])
    assert.deepEqual([second.done, second.calls, second.receipts], [true, 1, 1])
    assert.deepEqual(sleeper.did, ['01'.repeat(32)])
    home.devices.delete('phone')
    const again = await deviceIn(home, 'phone')
    const known: string[] = []
    again.mailbox.events.on('receipt', ({ call }) => void known.push(toHex(call)))
    connect(home, 'phone', 'server')
    await clock.advance(1)
    assert.deepEqual(known, ['01'.repeat(32)])
    assert.deepEqual(again.settled, known)
  })

  it('has what it held after a restart, and gives it once', async () => {
    const clock = virtualClock()
    const made: Room = { clock, network: new MemoryNetwork(clock), devices: new Map() }
    const disk = openDatabase(':memory:', MIGRATIONS)
    const get = (name: string): Device => {
      const device = made.devices.get(name)
      assert.ok(device)
      return device
    }
    const home = { ...made, get }
    await deviceIn(home, 'hub', disk)
    await deviceIn(home, 'phone')
    await deviceIn(home, 'sleeper')
    connect(home, 'phone', 'hub')
    await window(home, ['hub'])
    await get('phone').mailbox.hold(callTo(get('sleeper'), get('phone'), 2))
    await clock.advance(1)
    await get('hub').stop()
    await deviceIn(home, 'hub', disk)
    await window(home, ['hub'])
    await window(home, ['hub'])
    assert.deepEqual(get('sleeper').did, ['02'.repeat(32)])
    assert.deepEqual(get('phone').settled, ['02'.repeat(32)])
  })

  it('chooses another parent for one that died', async () => {
    const home = await room(['hub', 'server', 'spare', 'sleeper'])
    const parents = (): string[] => {
      const all = ['hub', 'server', 'spare']
      const names = (key: Uint8Array): string =>
        all.find((name) => equalBytes(home.get(name).signer.key, key)) ?? '?'
      return home.get('sleeper').mailbox.parents().map(names)
    }
    connect(home, 'hub', 'server')
    connect(home, 'hub', 'spare')
    await window(home, ['hub', 'server', 'spare'])
    assert.deepEqual(parents(), ['hub', 'server'])
    await home.get('server').stop()
    home.network.disconnect(home.get('server').signer.key, home.get('hub').signer.key)
    for (let at = 0; at < 4; at++) await window(home, ['hub', 'spare'])
    assert.deepEqual(parents(), ['hub', 'spare'])
  })

  it('takes a call back that nobody else had, and no other', async () => {
    const home = await room(['hub', 'phone', 'sleeper'])
    const phone = home.get('phone')
    await phone.mailbox.hold(callTo(home.get('sleeper'), phone, 3))
    assert.equal(await phone.mailbox.cancel(fromHex('03'.repeat(32))), true)
    await phone.mailbox.hold(callTo(home.get('sleeper'), phone, 4))
    connect(home, 'phone', 'hub')
    await home.clock.advance(1)
    assert.equal(await phone.mailbox.cancel(fromHex('04'.repeat(32))), false)
  })
})
