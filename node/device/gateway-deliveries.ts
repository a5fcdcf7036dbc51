/**
 * What a gateway may have, in order for each device from a cursor: first what was missed, then as it
 * comes. Signed packs come from the logs kept on disk, so that a reader that is slow or away loses
 * nothing; extracts come from the devices themselves, no faster than they are taken. The rights are
 * asked before each delivery.
 */
import { fingerprintOf, peerIdOf } from '../../protocols/identity/index.ts'
import { capToRead, readsAll, readsAny, type Device } from '../../protocols/members/index.ts'
import { FLAGS, reopenPack, trustedTimes } from '../../protocols/telemetry/index.ts'
import { equalBytes, toHex } from '../../protocols/wire/index.ts'
import type { DeviceNode } from '../node.ts'
import type { LiveReading } from '../services/telemetry/index.ts'
import type { GatewayCursor, GatewayDelivery, GatewayPack, GatewayReading } from './gateway.ts'
import { createHoles, type Holes } from './gateway-holes.ts'
import type { Home } from './home.ts'
import { rightsOf } from './rights.ts'

type Node = Pick<DeviceNode, 'base' | 'home'>

/** Packs of one device before it is another's turn. */
const PAGE_PACKS = 16
/** Extracts of one device that wait to be taken; then the device waits. */
const MAX_WAITING = 64
/** Looked at again without any news: rights and grants also end by the clock. */
const LOOK_MS = 1000

/** One home, as it is delivered from. */
interface Source {
  readonly node: Node
  readonly home: Home
  /** Number of the last pack that was handed out, by peer id. */
  readonly done: Map<string, number>
  readonly extracts: Map<string, Waiting>
  readonly holes: Holes
}

interface Waiting {
  readonly packs: (readonly LiveReading[])[]
  room: () => void
}

/** `onHome`: before anything of a home is delivered. */
export async function* deliver(
  node: Node,
  cursor: GatewayCursor,
  signal: AbortSignal,
  onHome: () => void = () => undefined,
): AsyncGenerator<GatewayDelivery, void, undefined> {
  const done = new Map(cursor)
  while (!signal.aborted) {
    const home = node.home()
    if (home === undefined) {
      await node.base.clock.sleep(LOOK_MS, signal).catch(() => undefined)
      continue
    }
    onHome()
    yield* deliverHome(node, home, done, signal)
  }
}

async function* deliverHome(
  node: Node,
  home: Home,
  done: Map<string, number>,
  signal: AbortSignal,
): AsyncGenerator<GatewayDelivery, void, undefined> {
  const { clock } = node.base
  const over = new AbortController()
  const until = AbortSignal.any([signal, over.signal])
  const holes = createHoles(home.telemetry, clock)
  const source: Source = { node, home, done, extracts: new Map(), holes }
  let ring = (): void => undefined
  home.telemetry.events.on('pack', ({ pack }) => (holes.note(pack), ring()), until)
  home.members.events.on('change', () => ring(), until)
  const following = home.telemetry.followExtracts(
    takerOf(source, () => ring()),
    until,
  )
  try {
    while (!until.aborted && node.home() === home) {
      // Before anything is looked at, so that no ring is missed.
      const rung = new Promise<void>((resolve) => (ring = resolve))
      let some = false
      for (const device of devicesOf(home)) {
        for (const delivery of pageOf(source, device)) {
          if (until.aborted) return
          some = true
          yield delivery
        }
      }
      if (!some) await rungWithin(node, rung, until)
    }
  } finally {
    over.abort(new Error('nothing is taken any more'))
    for (const { room } of source.extracts.values()) room()
    await following
  }
}

async function rungWithin({ base }: Node, rung: Promise<void>, signal: AbortSignal): Promise<void> {
  const over = new AbortController()
  const slept = base.clock.sleep(LOOK_MS, AbortSignal.any([signal, over.signal]))
  await Promise.race([rung, slept.catch(() => undefined)])
  over.abort(new Error('rung'))
  await slept.catch(() => undefined)
}

function devicesOf({ members }: Home): readonly Device[] {
  return members.active().filter(({ quarantined }) => !quarantined)
}

/** What the policy of this moment lets this gateway have. */
function capsNow({ node, home }: Source): readonly string[] {
  const { self, state } = home.members
  if (self?.role !== 'gateway' || self.quarantined) return []
  return rightsOf(state.policy, node.base.signer.key).caps
}

function* pageOf(source: Source, device: Device): Generator<GatewayDelivery, void, undefined> {
  const caps = capsNow(source)
  const fingerprint = fingerprintOf(device.key)
  if (!readsAny(caps, fingerprint)) return
  const own = equalBytes(device.key, source.home.mesh.key)
  if (own || readsAll(caps, fingerprint)) yield* packsOf(source, device)
  else yield* extractsOf(source, device)
}

/** From the log on disk, of which nothing is taken before what comes before it, or is given up. */
function* packsOf(source: Source, device: Device): Generator<GatewayDelivery, void, undefined> {
  const { node, done, holes, home } = source
  const id = peerIdOf(device.key)
  for (const seq of holes.filled(device.key)) {
    const [late] = node.base.packs.read(device.key, seq, 1)
    if (late?.seq === seq) yield* packOf(source, device, late.bytes, false)
  }
  const start = done.get(id)
  const page = node.base.packs.read(device.key, (start ?? 0) + 1, PAGE_PACKS)
  for (const { seq, bytes } of page) {
    const next = (done.get(id) ?? 0) + 1
    if (seq > next) {
      if (holes.mayFill(device.key, next)) return
      holes.give(device.key, { from: next, to: seq - 1 })
      // What was there before the first one that this gateway ever had is not missed.
      if (start !== undefined || next > 1) yield gapOf(device, next, seq - 1)
    }
    // Taken back while the last one was looked at: this one is not handed out, nor passed over.
    if (!readsAny(capsNow(source), fingerprintOf(device.key))) return
    done.set(id, seq)
    yield* packOf(source, device, bytes, seq >= home.telemetry.lastSeq(device.key))
  }
}

function gapOf({ key, name }: Device, from: number, to: number): GatewayDelivery {
  return { kind: 'gap', device: key, deviceId: peerIdOf(key), name, from, to }
}

/** The whole pack where the policy gives all of it, else what it gives; nothing where that is nothing. */
function* packOf(
  source: Source,
  device: Device,
  bytes: Uint8Array,
  live: boolean,
): Generator<GatewayPack, void, undefined> {
  const { packs, clock } = source.node.base
  const pack = reopenPack(bytes)
  const bornMs = pack.born ?? packs.bornMs(device.key, pack.bootId)
  const { times, flags } = trustedTimes(pack, { receivedAtMs: clock.now(), bornMs })
  const unsynced = pack.clock === 'synced' ? 0 : FLAGS.clockUnsynced
  const readings = pack.readings.map((reading, i): LiveReading => ({
    ...reading,
    device: device.key,
    atMs: times[i] ?? clock.now(),
    seq: pack.seq,
    flags: flags | unsynced,
    verified: true,
  }))
  yield* allowed(source, device, { readings, live, bytes })
}

function* extractsOf(source: Source, device: Device): Generator<GatewayPack, void, undefined> {
  const waiting = source.extracts.get(toHex(device.key))
  if (waiting === undefined) return
  const id = peerIdOf(device.key)
  const some = waiting.packs.splice(0, PAGE_PACKS)
  waiting.room()
  for (const readings of some) {
    const seq = readings[0]?.seq ?? 0
    // A stream that was opened again may tell of a pack a second time.
    if (seq <= (source.done.get(id) ?? 0)) continue
    source.done.set(id, seq)
    yield* allowed(source, device, { readings, live: waiting.packs.length === 0 })
  }
}

interface Had {
  readonly readings: readonly LiveReading[]
  readonly live: boolean
  readonly bytes?: Uint8Array
}

/** By the policy at the moment when it is handed out. */
function* allowed(
  source: Source,
  device: Device,
  { readings: all, live, bytes }: Had,
): Generator<GatewayPack, void, undefined> {
  const caps = capsNow(source)
  const fingerprint = fingerprintOf(device.key)
  const readings = all.flatMap((reading, index) =>
    capToRead(caps, fingerprint, reading.sensor) === undefined
      ? []
      : [readingOf(device, reading, index)],
  )
  const [first] = readings
  if (first === undefined) return
  const whole = bytes !== undefined && readsAll(caps, fingerprint) ? { bytes } : {}
  const { device: key, deviceId, name, seq } = first
  yield { kind: 'pack', device: key, deviceId, name, seq, ...whole, readings, live }
}

const UNCERTAIN = FLAGS.clockImplausible | FLAGS.clockUnsynced | FLAGS.unplaced

function readingOf({ key, name }: Device, reading: LiveReading, index: number): GatewayReading {
  const { sensor, unit, value, atMs, seq, flags, verified } = reading
  const named = unit === undefined ? { sensor } : { sensor, unit }
  const timeUncertain = (flags & UNCERTAIN) !== 0
  const deviceId = peerIdOf(key)
  return { device: key, deviceId, name, ...named, value, atMs, seq, index, timeUncertain, verified }
}

/** Extracts of the devices of which the policy gives a part, as many as there is room for. */
function takerOf(source: Source, ring: () => void) {
  const { home, done, extracts } = source
  return {
    wants(device: Uint8Array): boolean {
      const caps = capsNow(source)
      const fingerprint = fingerprintOf(device)
      if (equalBytes(device, home.mesh.key)) return false
      return readsAny(caps, fingerprint) && !readsAll(caps, fingerprint)
    },
    from(device: Uint8Array): number {
      const waiting = extracts.get(toHex(device))?.packs.at(-1)?.[0]?.seq ?? 0
      return Math.max(waiting, done.get(peerIdOf(device)) ?? 0) + 1
    },
    async take(device: Uint8Array, readings: readonly LiveReading[]): Promise<void> {
      const key = toHex(device)
      const waiting = extracts.get(key) ?? { packs: [], room: () => undefined }
      extracts.set(key, waiting)
      waiting.packs.push(readings)
      ring()
      if (waiting.packs.length < MAX_WAITING) return
      await new Promise<void>((resolve) => (waiting.room = resolve))
    },
  }
}
