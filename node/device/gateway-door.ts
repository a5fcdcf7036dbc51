/** The door of device/gateway.ts, over a node that runs: who is there, what is allowed, calls, signatures. */
import { modelOf, type Cause, type Json, type ThingModel } from '../../protocols/calls/index.ts'
import { keyOfPeerId, open, peerIdOf, seal, type Context } from '../../protocols/identity/index.ts'
import { NO_RIGHTS, type GatewayRights } from '../../protocols/members/index.ts'
import { equalBytes, message, bytes, text, field, toHex } from '../../protocols/wire/index.ts'
import { resolveDevice } from '../api/device-ref.ts'
import { createEmitter, type Emitter } from '../events.ts'
import { NodeError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { DeviceNode } from '../node.ts'
import type { GatewayDevice, GatewayDeviceFacts, GatewayEvents, GatewayHome } from './gateway.ts'
import { makeCall } from './view-calls.ts'
import { deliver } from './gateway-deliveries.ts'
import { leasesOf } from './gateway-leases.ts'
import type { Home } from './home.ts'
import { rightsOf } from './rights.ts'
import { deviceRows } from './rows.ts'

type Node = Pick<DeviceNode, 'base' | 'home' | 'view'>

type Door = Omit<GatewayDevice, 'ended' | typeof Symbol.asyncDispose>

/** Largest payload of a record that a gateway signs, and its envelope. */
const MAX_RECORD_BYTES = 65_536

/** Of a call that was asked for from outside. */
const ORIGIN = /^gateway:[A-Za-z0-9][A-Za-z0-9._-]{0,55}$/

const Record = message(
  'gateway.record',
  {
    kind: field(1, text(64)),
    payload: field(2, bytes({ max: MAX_RECORD_BYTES })),
  },
  { maxBytes: MAX_RECORD_BYTES + 128 },
)

export function gatewayOf(
  node: Node,
  { version, log }: { readonly version: string; readonly log: Logger },
  signal: AbortSignal,
): Door {
  const { base, view } = node
  const { signer, verifier } = base
  const requireHome = (): Home => {
    const home = node.home()
    if (home !== undefined) return home
    throw new NodeError('NODE_NO_HOME', 'This gateway has no home yet.', {
      hint: 'Add it to one with "kith pair" here and "kith add --role gateway" on an owner’s device.',
    })
  }
  const { events, look } = watched(node, log, signal)
  const context = (): Context => ({ kind: 'gateway-record', home: requireHome().members.home })
  return {
    id: peerIdOf(signer.key),
    key: signer.key,
    version,
    view,
    log: log.child({ part: 'gateway' }),
    events,
    leases: leasesOf(node, log.child({ part: 'leases' }), signal),
    home() {
      const home = node.home()
      return home === undefined ? undefined : factsOf(home)
    },
    devices: () => factsIn(node),
    policy: () => rightsIn(node),
    deliveries: (cursor, until) => deliver(node, cursor, AbortSignal.any([signal, until]), look),
    async describe(device, until): Promise<ThingModel> {
      const home = requireHome()
      const { id } = resolveDevice(device, deviceRows(base, home))
      const { text: told } = await home.calls.describe(keyOfPeerId(id), until)
      return modelOf(told) ?? { title: '', properties: {}, actions: {}, events: {} }
    },
    async call({ device, verb, name, input, origin, ttlMs }, until) {
      if (verb === 'write' && input === undefined) {
        throw new NodeError('NODE_USAGE', `There is no value for ${name}.`)
      }
      const cause = causeOf(base, origin, input)
      const wish = { verb, name, cause, ...(input === undefined ? {} : { args: input }) }
      return makeCall(base, requireHome(), { ref: device, wish, options: { ttlMs } }, until)
    },
    sign: (kind, payload) => seal(Record.encode({ kind, payload }), context(), signer).bytes,
    opened(kind, sealed) {
      const { payload, signer: by } = open(sealed, context(), verifier, MAX_RECORD_BYTES + 512)
      const record = Record.decode(payload)
      if (record.kind === kind && equalBytes(by, signer.key)) return record.payload
      throw new NodeError('NODE_CONFLICT', 'The record is of another kind or another gateway.')
    },
  }
}

/** What came from outside stands where a rule's reading would: `gateway:SINK`, in no pack. */
function causeOf({ signer, clock }: Node['base'], origin: string, input: Json | undefined): Cause {
  if (!ORIGIN.test(origin)) throw new NodeError('NODE_USAGE', `"${origin}" is no origin.`)
  const value = typeof input === 'number' || typeof input === 'boolean' ? input : ''
  const rule = origin.slice(origin.indexOf(':') + 1)
  return { rule, device: signer.key, sensor: origin, seq: 0, atMs: clock.now(), value }
}

function factsOf({ members }: Home): GatewayHome {
  return { id: toHex(members.home), name: members.state.name }
}

/** The devices that are in the home now. */
function factsIn({ base, home }: Node): readonly GatewayDeviceFacts[] {
  const current = home()
  if (current === undefined) return []
  return deviceRows(base, current).flatMap((row) => {
    if (row.role === null || row.state === 'removed') return []
    const { id, fingerprint, name, role, state, self, version, dueAt } = row
    return [
      {
        id,
        key: keyOfPeerId(id),
        fingerprint,
        name,
        role,
        state,
        self,
        ...(version === null ? {} : { version }),
        ...(dueAt === undefined ? {} : { dueAtMs: dueAt }),
      },
    ]
  })
}

function rightsIn({ base, home }: Node): GatewayRights {
  const current = home()
  if (current?.members.self?.role !== 'gateway') return NO_RIGHTS
  return rightsOf(current.members.state.policy, base.signer.key)
}

/** How often states that only a clock changes are looked at. */
const LOOK_MS = 1000

/** What happens is told at once, but for a home that is new: `look`, or wait a moment. */
function watched(
  node: Node,
  log: Logger,
  signal: AbortSignal,
): { readonly events: Emitter<GatewayEvents>; readonly look: () => void } {
  const events = createEmitter<GatewayEvents>((err) => log.error({ err }, 'listener failed'))
  let known = new Map(factsIn(node).map((one) => [one.id, one]))
  let rights = rightsIn(node)
  let home: Home | undefined
  const look = (): void => {
    const current = node.home()
    if (current !== home) {
      home = current
      if (current !== undefined) listen(current)
      events.emit('home', current === undefined ? undefined : factsOf(current))
    }
    const now = rightsIn(node)
    if (now.caps.join(' ') !== rights.caps.join(' ')) events.emit('policy', (rights = now))
    const next = new Map(factsIn(node).map((one) => [one.id, one]))
    const before = known
    known = next
    for (const [id, { key, name }] of before) {
      if (!next.has(id)) events.emit('removed', { key, id, name })
    }
    for (const [id, one] of next) {
      if (JSON.stringify(one) !== JSON.stringify(before.get(id))) events.emit('device', one)
    }
  }
  // What only a clock changes is seen when it is looked at; all else at once.
  const listen = ({ members, mesh }: Home): void => {
    members.events.on('change', look, signal)
    mesh.events.on('connect', look, signal)
    mesh.events.on('disconnect', look, signal)
  }
  home = node.home()
  if (home !== undefined) listen(home)
  void (async () => {
    for (;;) {
      await node.base.clock.sleep(LOOK_MS, signal)
      look()
    }
  })().catch(() => undefined)
  return { events, look }
}
