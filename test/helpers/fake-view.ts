import { resolveDevice } from '../../node/api/device-ref.ts'
import type {
  DeviceRow,
  EventView,
  HistoryRow,
  IncidentView,
  NodeView,
  OpView,
  Reading,
  SensorReader,
} from '../../node/api/view.ts'
import { NodeError } from '../../node/errors.ts'
import { callAnswers, POWER } from './fake-calls.ts'
import { updateAnswers } from './fake-updates.ts'

export const KIT_GROUPS = ['abcd-1', 'efgh-2', 'jkmn-3', 'pqrs-4', 'tuvw-5', 'xyz2-6'] as const
export const CODE = '37-1234-5678-9'

export const DEVICES: readonly DeviceRow[] = [
  row('12D3KooWkitchen', 'kitchen', 'aaaa2222', { role: 'owner', self: true }),
  row('12D3KooWkitchenette', 'kitchenette', 'aabb3333', { role: 'member', state: 'late' }),
  row('12D3KooWgarden', 'garden', 'cccc4444', { role: 'sensor', state: 'asleep' }),
]

export const READINGS: readonly Reading[] = [1, 2, 3].map((seq) => ({
  device: '12D3KooWgarden',
  name: 'garden',
  sensor: 'temperature',
  value: 20 + seq / 2,
  unit: 'Cel',
  at: 1_800_000_000_000 + seq * 1000,
  seq,
  verified: true,
}))

export const INCIDENT: IncidentView = {
  device: '12D3KooWgarden',
  name: 'garden',
  seq: 3,
  at: 1_800_000_000_000,
  since: 1_800_000_000_000,
  count: 1,
  kind: 'crash',
  code: 'TypeError',
  subject: null,
  stage: 'running',
  places: ['node/main.ts:42'],
  clock: 'synced',
  version: '0.1.0',
}

const READERS: readonly SensorReader[] = [
  { name: 'kitchenette', role: 'member', through: 'role' },
  { name: 'visitor', role: 'guest', through: 'read:temperature' },
]

function row(id: string, name: string, fingerprint: string, more: Partial<DeviceRow>): DeviceRow {
  return {
    id,
    name,
    fingerprint,
    role: null,
    state: 'online',
    lastSeen: 1_800_000_000_000,
    addrs: ['/ip6/fe80::1%eth0/tcp/4646'],
    version: '0.1.0',
    quarantined: false,
    self: false,
    ...more,
  }
}

export interface FakeView extends NodeView {
  /** Every method called, in order, with its arguments (no signals). */
  readonly asked: [string, ...unknown[]][]
  /** Deliver an event to everybody who listens now or later asks for the past. */
  emit(type: string, data: Record<string, unknown>): void
  /** Resolves when `name` is called (again). */
  called(name: string): Promise<void>
}

/** A device of a home that remembers what it was asked. `over` replaces single methods. */
export function fakeView(over: Partial<NodeView> = {}): FakeView {
  const asked: [string, ...unknown[]][] = []
  const waiting = new Set<{ name: string; resolve: () => void }>()
  const log: EventView[] = []
  let wake = Promise.withResolvers<void>()
  const plain: NodeView = { ...answers(log, () => wake.promise), ...over }
  const recorded = Object.fromEntries(
    Object.entries(plain).map(([name, method]) => [
      name,
      (...args: unknown[]) => {
        asked.push([name, ...args.filter((arg) => !(arg instanceof AbortSignal))])
        for (const entry of waiting) if (entry.name === name) entry.resolve()
        return (method as (...all: unknown[]) => unknown)(...args)
      },
    ]),
  ) as unknown as NodeView
  return {
    ...recorded,
    asked,
    emit(type, data) {
      log.push({ id: log.length + 1, type, at: 1_800_000_000_000, data })
      wake.resolve()
      wake = Promise.withResolvers()
    },
    called(name) {
      return new Promise((resolve) => {
        const entry = { name, resolve: () => (waiting.delete(entry), resolve()) }
        waiting.add(entry)
      })
    },
  }
}

function op(type: string, device: string): OpView {
  return { id: `b${type}`, type, device, by: '12D3KooWkitchen', at: 1_800_000_000_000 }
}

function answers(log: readonly EventView[], changed: () => Promise<void>): NodeView {
  const find = (ref: string): DeviceRow => resolveDevice(ref, DEVICES)
  let id = '12D3KooWkitchen'
  return {
    status: async () => ({
      version: '0.1.0',
      device: { id, name: 'kitchen', fingerprint: 'aaaa2222' },
      home: null,
      role: null,
      addrs: [],
      peers: 0,
      startedAt: 1_800_000_000_000,
      uptimeMs: 1,
    }),
    recoveryKit: async () => ({ groups: KIT_GROUPS, qr: 'kith:kit', publicKey: 'ab'.repeat(32) }),
    createHome: async ({ name }) => ({ home: 'bhome', name, device: '12D3KooWkitchen' }),
    recover: async () => ({ home: 'bhome', name: 'Home', device: '12D3KooWkitchen' }),
    openPairing: async () => ({
      code: CODE,
      qr: 'kith:qr',
      expiresAt: Date.now() + 600_000,
      since: log.length,
    }),
    pairingStatus: async () => ({ open: false, expiresAt: null, triesLeft: 0 }),
    closePairing: async () => undefined,
    addDevice: async ({ role, name }) => ({
      device: '12D3KooWgarden',
      name: name ?? 'garden',
      role,
      fingerprint: 'cccc4444',
    }),
    devices: async () => DEVICES,
    device: async (ref) => find(ref),
    rename: async (ref) => op('rename', find(ref).id),
    grant: async (ref) => op('grant', find(ref).id),
    trust: async (ref) => find(ref),
    gatewayPolicy: async (ref) => ({ device: ref, name: 'bridge', caps: [], wider: [], taken: [] }),
    signGatewayPolicy: async (ref, caps) => ({
      device: ref,
      name: 'bridge',
      caps,
      wider: caps,
      taken: [],
    }),
    removal: async (ref) => ({
      device: find(ref),
      connected: true,
      alsoRemoved: ['garden'],
      lastSeq: 7,
    }),
    remove: async (ref) => ({
      op: op('revoke', find(ref).id),
      cuts: { device: find(ref), connected: true, alsoRemoved: ['garden'], lastSeq: 7 },
    }),
    sensors: async () => [
      {
        name: 'temperature',
        unit: 'Cel',
        on: true,
        value: 21.5,
        description: 'Air',
        readers: READERS,
      },
    ],
    async setSensor(name, on) {
      if (name !== 'temperature')
        throw new NodeError('NODE_NOT_FOUND', `There is no sensor ${name}.`)
      return { name, unit: 'Cel', on, value: null, description: 'Air', readers: READERS }
    },
    push: async () => undefined,
    watch: (_query, signal) => endless(READINGS, signal),
    async *history() {
      yield* [
        READINGS[0],
        { gap: { from: 1_800_000_002_000, to: 1_800_000_002_000 } },
        READINGS[2],
      ].filter((found): found is HistoryRow => found !== undefined)
    },
    async *unplaced({ sensor }) {
      const [reading] = READINGS
      if (reading === undefined || (sensor ?? reading.sensor) !== reading.sensor) return
      const { at, ...rest } = reading
      yield { ...rest, unplaced: { boot: '0a1b2c3d'.repeat(4), sinceStartMs: at % 600_000 } }
    },
    async *exportLogs() {
      yield new Uint8Array([1, 2, 3])
    },
    async *backup() {
      yield new Uint8Array([1, 2, 3])
    },
    ...callAnswers(endless),
    ...updateAnswers(),
    power: async () => POWER,
    doctor: async () => [
      { check: 'address', ok: true, cause: 'fe80::1', cure: '' },
      { check: 'clock', ok: false, cause: 'two days behind', cure: 'Switch NTP on.' },
    ],
    incidents: async ({ device }) =>
      device === undefined || device === 'garden' ? [INCIDENT] : [],
    async reset() {
      id = '12D3KooWnobody'
    },
    config: async () => [{ key: 'mesh.port', value: 4646, source: 'default' }],
    events: (since, signal) => eventsAfter(since ?? log.length, { log, changed }, signal),
  }
}

interface Source {
  readonly log: readonly EventView[]
  readonly changed: () => Promise<void>
}

async function* eventsAfter(since: number, { log, changed }: Source, signal: AbortSignal) {
  let next = since
  while (!signal.aborted) {
    const change = changed()
    for (const event of log.slice(next)) yield event
    next = log.length
    await Promise.race([change, aborted(signal)])
  }
}

async function* endless<T>(rows: readonly T[], signal: AbortSignal): AsyncGenerator<T> {
  yield* rows
  await aborted(signal)
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
