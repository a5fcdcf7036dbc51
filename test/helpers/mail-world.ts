/**
 * A home of devices that sleep, hold and call, in one process and without a network: the logic of
 * protocols/mailbox over disks that survive, with every exchange cut, lost or repeated as a seed says.
 * Calls and receipts are JSON in place of signed documents; time is a number.
 */
import {
  beginWake,
  chooseParents,
  createOutbox,
  hearWake,
  Note,
  Post,
  Reply,
  Timetable,
  type CallFacts,
  type Ending,
  type MailRow,
  type NoteMessage,
  type Outbox,
  type ReceiptFacts,
  type ReplyMessage,
  type Schedule,
  type ScheduleRow,
  type Stamp,
} from '../../protocols/mailbox/index.ts'
import { equalBytes, toHex, utf8 } from '../../protocols/wire/index.ts'

export const PERIOD_MS = 600_000
export const SLACK_MS = 30_000
const START_MS = 1_800_000_000_000

export interface CallDocument {
  readonly id: string
  readonly caller: string
  readonly to: string
  readonly issuedMs: number
  readonly ttlMs: number
  readonly value: number
  /** Only the last of these counts. */
  readonly coalesced: boolean
  readonly cancels?: string
}

interface ReceiptDocument {
  readonly call: string
  readonly caller: string
  readonly callee: string
  readonly status: string
}

function encode(document: object): Uint8Array {
  return utf8(JSON.stringify(document))
}

function decode(bytes: Uint8Array): unknown {
  return JSON.parse(new TextDecoder().decode(bytes))
}

function unhex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'hex'))
}

export function readCall(bytes: Uint8Array): CallFacts {
  const { caller, cancels, id, issuedMs, to, ttlMs } = decode(bytes) as CallDocument
  const keys = { id: unhex(id), caller: unhex(caller), to: unhex(to) }
  return { ...keys, issuedMs, ttlMs, cancels: cancels !== undefined }
}

export function readReceipt(bytes: Uint8Array): ReceiptFacts & { readonly status: string } {
  const { call, callee, caller, status } = decode(bytes) as ReceiptDocument
  return { call: unhex(call), caller: unhex(caller), callee: unhex(callee), status }
}

/** Numbers that repeat themselves for one seed. */
export class Dice {
  #state: number

  constructor(seed: number) {
    this.#state = seed * 2_654_435_761
  }

  /** 0 ≤ number < 1. */
  roll(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }

  chance(part: number): boolean {
    return this.roll() < part
  }

  below(limit: number): number {
    return Math.floor(this.roll() * limit)
  }
}

/** What survives a crash. */
interface Disk {
  readonly rows: Map<string, MailRow>
  readonly schedules: Map<string, ScheduleRow>
  readonly missed: Map<string, number>
  /** Of the callee: what it answered, and the newest coalesced call that it executed. */
  readonly answered: Map<string, Uint8Array>
  readonly cancelled: Set<string>
  readonly newest: Map<string, number>
  /** Of the caller. */
  readonly receipts: Map<string, string>
}

export interface SimDevice {
  readonly name: string
  readonly key: Uint8Array
  readonly sleepy: boolean
  /** How wrong its wall clock is. */
  wallOffMs: number
  up: boolean
  /** Of a sleeper: its window is open. */
  awake: boolean
  /** Devices of one number hear each other. */
  side: number
  bootedMs: number
  boots: number
  post: Post
  outbox: Outbox
  timetable: Timetable
  readonly disk: Disk
  /** Calls of its own without a receipt that ended, and how. */
  readonly endings: Map<string, Ending>
}

export interface World {
  nowMs: number
  readonly dice: Dice
  /** Part of the messages that are lost, and that come again later. */
  trouble: number
  readonly devices: SimDevice[]
  readonly calls: Map<string, CallDocument>
  /** How often each call was executed, and in what order the coalesced ones were. */
  readonly executed: Map<string, number>
  readonly values: CallDocument[]
  readonly lastWakeMs: Map<string, number>
  readonly replays: (() => void)[]
}

export function newWorld(seed: number, names: readonly string[]): World {
  const world: World = {
    nowMs: START_MS,
    dice: new Dice(seed),
    trouble: 0,
    devices: [],
    calls: new Map(),
    executed: new Map(),
    values: [],
    lastWakeMs: new Map(),
    replays: [],
  }
  for (const [at, name] of names.entries()) world.devices.push(newDevice(world, name, at + 1))
  return world
}

function newDevice(world: World, name: string, number: number): SimDevice {
  const disk: Disk = {
    rows: new Map(),
    schedules: new Map(),
    missed: new Map(),
    answered: new Map(),
    cancelled: new Set(),
    newest: new Map(),
    receipts: new Map(),
  }
  const sleepy = name.startsWith('sleeper')
  const still = { name, key: new Uint8Array(32).fill(number), sleepy, disk, endings: new Map() }
  const moving = { wallOffMs: 0, up: true, awake: false, side: 0, bootedMs: world.nowMs, boots: 1 }
  const device = { ...still, ...moving } as SimDevice
  start(world, device)
  return device
}

/** Begin with what is on the disk and nothing else. */
export function start(world: World, device: SimDevice): void {
  const { disk, key, sleepy } = device
  const now = (): Stamp => ({
    wallMs: world.nowMs + device.wallOffMs,
    monoMs: world.nowMs - device.bootedMs,
    boot: new Uint8Array(16).fill(device.boots),
    synced: device.wallOffMs === 0,
  })
  const named = (one: Uint8Array): SimDevice | undefined =>
    world.devices.find((other) => equalBytes(other.key, one))
  device.timetable = new Timetable({
    store: {
      load: () => [...disk.schedules.values()],
      put: (row) => void disk.schedules.set(toHex(row.device), row),
    },
    now,
    read: (bytes) => scheduleIn(bytes),
    isMember: (one) => named(one) !== undefined,
    heard: () => undefined,
  })
  device.post = new Post({
    self: key,
    powered: !sleepy,
    store: {
      load: () => [...disk.rows.values()],
      change(put, remove) {
        for (const row of put) disk.rows.set(toHex(row.id), row)
        for (const id of remove) disk.rows.delete(toHex(id))
      },
    },
    timetable: device.timetable,
    now,
    read: readCall,
    readReceipt,
    mayCall: () => true,
    mayHold: (one) => named(one)?.sleepy === false,
    settled: (receipt, { call }) =>
      void disk.receipts.set(toHex(call), readReceipt(receipt).status),
    moved: (id, ending) => void (ending !== undefined && device.endings.set(toHex(id), ending)),
  })
  device.outbox = createOutbox(device.post)
}

/** `reboot`: the machine starts again, not the process alone. */
export function crash(world: World, device: SimDevice, reboot: boolean): void {
  device.awake = false
  if (reboot) {
    device.boots++
    device.bootedMs = world.nowMs
  }
  for (const other of world.devices) other.outbox.left(device.key)
  start(world, device)
}

function scheduleIn(bytes: Uint8Array): Schedule {
  const { device, parents, seq } = decode(bytes) as {
    device: string
    parents: string[]
    seq: number
  }
  const said = { atMs: 0, clock: 'unset', mode: 'sleepy', windowMs: 2_000 } as const
  const times = { periodMs: PERIOD_MS, slackMs: SLACK_MS }
  return {
    ...said,
    ...times,
    seq,
    parents: parents.map((key) => unhex(key)),
    device: unhex(device),
    bytes,
  }
}

export function linked(a: SimDevice, b: SimDevice): boolean {
  const on = (one: SimDevice): boolean => one.up && (!one.sleepy || one.awake)
  return a !== b && on(a) && on(b) && a.side === b.side
}

/** Everyone tells everyone what it has to tell, until nobody has. */
export function gossip(world: World): void {
  for (let round = 0; round < 6; round++) {
    let told = false
    for (const from of world.devices) {
      for (const to of world.devices) if (linked(from, to) && tellOne(world, from, to)) told = true
    }
    if (!told) return
  }
}

function tellOne(world: World, from: SimDevice, to: SimDevice): boolean {
  const notes = from.outbox.notes(to.key)
  for (const note of notes) {
    const sent = Note.decode(Note.encode(note))
    if (lost(world)) return false
    const reply = receive(to, sent, from)
    if (world.dice.chance(world.trouble / 2)) world.replays.push(() => void receive(to, sent, from))
    if (lost(world)) return false
    from.outbox.answered(to.key, note, Reply.decode(Reply.encode(reply)))
  }
  return notes.length > 0
}

function receive(to: SimDevice, { news, put }: NoteMessage, from: SimDevice): ReplyMessage {
  if (put !== undefined) return { held: to.post.put(put, from.key) }
  return news === undefined ? {} : { noted: to.post.hear(news, from.key) }
}

function lost(world: World): boolean {
  return world.dice.chance(world.trouble)
}

/** One window of a sleeper: what node/services/mailbox/waking.ts does, with the parents in reach. */
export function wake(world: World, sleeper: SimDevice): void {
  sleeper.awake = true
  world.lastWakeMs.set(sleeper.name, world.nowMs)
  const near = world.devices.filter((other) => linked(sleeper, other) && !other.sleepy)
  const powered = world.devices.filter((other) => !other.sleepy)
  const rest = powered.filter((other) => !near.includes(other))
  const { disk, timetable } = sleeper
  const dead = [...disk.missed].filter(([, times]) => times >= 3).map(([key]) => key)
  const parents = chooseParents({
    current: timetable.parentsOf(sleeper.key),
    dead: new Set(dead),
    candidates: [...near, ...rest].map(({ key }) => key),
  })
  const seq = (timetable.get(sleeper.key)?.seq ?? 0) + 1
  const said = { device: toHex(sleeper.key), seq, parents: parents.map(toHex) }
  timetable.hear(encode(said), 0, sleeper.key)
  const others = near.map(({ key }) => key).filter((key) => !isIn(parents, key))
  for (const key of [...parents, ...others.slice(0, 1)]) {
    const holder = near.find((one) => equalBytes(one.key, key))
    const apart = holder === undefined ? undefined : visit(world, sleeper, holder, encode(said))
    disk.missed.set(toHex(key), apart === undefined ? (disk.missed.get(toHex(key)) ?? 0) + 1 : 0)
    if (apart === false) break
  }
}

/** Undefined where it broke off. */
function visit(
  world: World,
  sleeper: SimDevice,
  holder: SimDevice,
  schedule: Uint8Array,
): boolean | undefined {
  const own = beginWake(sleeper.post, holder.key, { schedule })
  const session = hearWake(holder.post, sleeper.key)
  own.did(execute(world, sleeper, own.waiting()))
  const isConnected = (key: Uint8Array): boolean =>
    world.devices.some((other) => equalBytes(other.key, key) && linked(holder, other))
  for (;;) {
    const note = Note.decode(Note.encode({ wake: own.next(0) }))
    if (lost(world) || note.wake === undefined) return undefined
    const answer = session.answer(note.wake, { logHead: 0, isConnected })
    if (lost(world)) return undefined
    const { mail } = Reply.decode(Reply.encode({ mail: answer }))
    if (mail === undefined) return undefined
    own.take(mail)
    const receipts = execute(world, sleeper, own.waiting())
    // Killed in its window, after it acted and before the mailbox knows.
    if (lost(world)) {
      crash(world, sleeper, world.dice.chance(0.5))
      return undefined
    }
    own.did(receipts)
    if (own.done) return mail.apart
  }
}

/** What the callee does with calls that come through the mailbox. */
export function execute(
  world: World,
  device: SimDevice,
  documents: readonly Uint8Array[],
): Uint8Array[] {
  const calls = documents.map((bytes) => decode(bytes) as CallDocument)
  const first = calls.filter(({ cancels }) => cancels !== undefined)
  const rest = calls.filter(({ cancels }) => cancels === undefined)
  return [...first, ...rest.toSorted((a, b) => a.issuedMs - b.issuedMs)].map((call) => {
    const { answered } = device.disk
    const receipt = answered.get(call.id) ?? encode(answerTo(world, device, call))
    answered.set(call.id, receipt)
    return receipt
  })
}

function answerTo(world: World, device: SimDevice, call: CallDocument): ReceiptDocument {
  const { caller, cancels, coalesced, id, issuedMs, ttlMs } = call
  const { cancelled, newest } = device.disk
  const answer = (status: string): ReceiptDocument => ({
    call: id,
    caller,
    callee: call.to,
    status,
  })
  const now = world.nowMs + device.wallOffMs
  if (issuedMs > now + 120_000 || now > issuedMs + ttlMs) return answer('expired')
  if (cancels !== undefined) {
    cancelled.add(cancels)
    return answer('done')
  }
  if (cancelled.has(id)) return answer('cancelled')
  if (coalesced && (newest.get(caller) ?? 0) > issuedMs) return answer('superseded')
  if (coalesced) {
    newest.set(caller, issuedMs)
    world.values.push(call)
  }
  world.executed.set(id, (world.executed.get(id) ?? 0) + 1)
  return answer('done')
}

/** `from` calls `to`; the error's code where its mailbox refuses. */
export function ask(
  world: World,
  [from, to]: readonly [SimDevice, SimDevice],
  wanted: { ttlMs: number; coalesced?: boolean; cancels?: string; text?: string },
): CallDocument | string {
  const { cancels, coalesced = false, text = '', ttlMs } = wanted
  const number = world.calls.size + 1
  const bytes = new Uint8Array(32).fill(number % 251)
  new DataView(bytes.buffer).setUint32(0, number)
  const document: CallDocument & { text: string } = {
    id: toHex(bytes),
    caller: toHex(from.key),
    to: toHex(to.key),
    issuedMs: world.nowMs + from.wallOffMs,
    ttlMs,
    value: number,
    coalesced,
    text,
    ...(cancels === undefined ? {} : { cancels }),
  }
  try {
    from.post.hold(encode(document), coalesced ? 'setpoint' : '')
  } catch (error) {
    return (error as { code: string }).code
  }
  world.calls.set(document.id, document)
  return document
}

function isIn(keys: readonly Uint8Array[], key: Uint8Array): boolean {
  return keys.some((one) => equalBytes(one, key))
}
