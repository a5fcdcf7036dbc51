/**
 * The parts of a device that exist only while it is in a home: membership, mesh and telemetry,
 * joined to each other. They start together and stop together.
 */
import { fingerprintOf, peerIdOf } from '../../protocols/identity/index.ts'
import { permits, type Device, type OpSet } from '../../protocols/members/index.ts'
import { equalBytes, toHex } from '../../protocols/wire/index.ts'
import { systemBoot } from '../boot.ts'
import { watchClockSource, type ClockSource } from '../clock-source.ts'
import { Scope } from '../lifecycle.ts'
import { createBrokers, type Brokers } from '../machine/brokers.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Actuators } from '../services/actuators/index.ts'
import type { Calls, Thing } from '../services/calls/index.ts'
import type { Incidents } from '../services/incidents.ts'
import type { Mailbox } from '../services/mailbox/index.ts'
import { keepCheckpoints } from '../services/members/checkpoints.ts'
import { startMembers, type Members } from '../services/members/members.ts'
import type { Rules } from '../services/rules/index.ts'
import { builtInSources, configuredSources } from '../services/sensors/index.ts'
import {
  startTelemetry,
  type Telemetry,
  type TelemetryMember,
} from '../services/telemetry/index.ts'
import { createTimekeeper, type Timekeeper } from '../timekeeper.ts'
import type { DeviceBase } from './base.ts'
import { callsOf } from './calls.ts'
import { incidentsOf, joinIncidents } from './incidents.ts'
import { createLateUpdates, type LateUpdates } from './late-updates.ts'
import { mailboxOf, type MailCalls } from './mailbox.ts'
import { guestsOf } from './readers.ts'
import { mayReadLog } from './rights.ts'
import { rulesOf } from './rules.ts'
import type { Sleeper } from './sleeper.ts'
import {
  callsAwake,
  followSleepers,
  isSleepy,
  meshFor,
  sleeperOf,
  updatesAwake,
} from './sleepers.ts'
import { actuatorsOf, thingOf } from './thing.ts'
import { watchTrust } from './trust.ts'

export interface Home extends AsyncDisposable {
  readonly members: Members
  readonly mesh: Mesh
  readonly telemetry: Telemetry
  readonly time: Timekeeper
  readonly incidents: Incidents
  readonly mailbox: Mailbox
  readonly updates: LateUpdates
  readonly actuators: Actuators
  /** What of this device can be called. */
  readonly thing: Thing
  readonly calls: Calls
  readonly rules: Rules
  /** Peer ids of members that announced themselves on the network and are not connected since. */
  readonly announced: ReadonlySet<string>
  /** Present where this device sleeps. */
  readonly sleeper?: Sleeper
}

const DAY_MS = 86_400_000

/** `ops` holds the home's genesis, and everything in it is on disk. */
export async function startHome(base: DeviceBase, ops: OpSet, signal: AbortSignal): Promise<Home> {
  const scope = new Scope()
  const stopWithDevice = (): void => void scope[Symbol.asyncDispose]()
  signal.addEventListener('abort', stopWithDevice, { once: true })
  // First: by the first reading it should be known.
  const source = watchClockSource(base, scope.signal)
  const members = await scope.use('members', (until) => membersOf(base, ops, until))
  const mesh = await scope.use('mesh', (until) => meshFor(base, members.greeting, until))
  const time = timeOf(base, { members, source }, scope.signal)
  // One for all: two connections under one name would end each other.
  const brokers = createBrokers(base)
  const telemetry = await scope.use('telemetry', (until) =>
    telemetryOf(base, { members, mesh, time, brokers }, until),
  )
  const calling = Promise.withResolvers<Calls>()
  // Before anything is measured, so that a rule sees the first value too.
  const rules = await scope.use('rules', (until) =>
    rulesOf(base, { members, mesh, telemetry }, calling.promise, until),
  )
  const things = await startThing(base, { members, telemetry, brokers }, scope)
  const incidents = await scope.use('incidents', (until) =>
    incidentsOf(base, { members, mesh, time }, until),
  )
  await scope.use('links', () => attached(members, mesh))
  const { thing } = things
  const talking = await startTalking(base, { members, mesh, telemetry, time, thing }, scope)
  calling.resolve(talking.calls)
  const updates = await scope.use('updates', (until) => createLateUpdates(base, () => home, until))
  updatesAwake(mesh, updates, scope.signal)
  const announced = new Set<string>()
  const home: Home = {
    members,
    mesh,
    telemetry,
    time,
    incidents,
    ...things,
    ...talking,
    rules,
    updates,
    announced,
    async [Symbol.asyncDispose]() {
      signal.removeEventListener('abort', stopWithDevice)
      await scope[Symbol.asyncDispose]()
    },
  }
  mesh.events.on('seen', ({ key }) => void announced.add(peerIdOf(key)), scope.signal)
  mesh.events.on('connect', ({ key }) => void announced.delete(peerIdOf(key)), scope.signal)
  joinParts(base, home, scope.signal)
  joinIncidents(base, home, scope.signal)
  const log = base.log.child({ part: 'members' })
  void keepCheckpoints({ members, mesh, time, clock: base.clock, log }, scope.signal)
  return home
}

/** What this device lets others do. */
async function startThing(
  base: DeviceBase,
  {
    members,
    telemetry,
    brokers,
  }: Pick<Home, 'members' | 'telemetry'> & { readonly brokers: Brokers },
  scope: Scope,
): Promise<Pick<Home, 'actuators' | 'thing'>> {
  const { config, clock, log } = base
  const actuators = await scope.use('actuators', (until) => actuatorsOf(base, brokers, until))
  const title = (): string => members.self?.name ?? config.device.name
  const { events } = config.things
  const thing = thingOf({ title, actuators, telemetry, events, clock, log }, scope.signal)
  return { actuators, thing }
}

/** Calls, and what waits for devices that sleep; this one may be one of them. */
async function startTalking(
  base: DeviceBase,
  parts: Pick<Home, 'members' | 'mesh' | 'telemetry' | 'thing' | 'time'>,
  scope: Scope,
): Promise<Pick<Home, 'calls' | 'mailbox' | 'sleeper'>> {
  const answering: { calls?: MailCalls } = {}
  const mailbox = await scope.use('mailbox', (until) =>
    mailboxOf(base, parts, () => answering.calls, until),
  )
  const calls = await scope.use('calls', (until) => callsOf(base, { ...parts, mailbox }, until))
  answering.calls = calls
  const { refresh } = followSleepers(parts, (key) => mailbox.sleeps(key), scope.signal)
  mailbox.events.on('presence', refresh, scope.signal)
  const mail = { mail: mailbox, chosen: () => mailbox.parents() }
  const sleeper = sleeperOf(base, parts, mail, scope.signal)
  if (sleeper === undefined) return { calls, mailbox }
  await scope.use('sleeper', () => sleeper)
  return { calls: callsAwake(calls, { ...parts, sleeper }), mailbox, sleeper }
}

async function attached(members: Members, mesh: Mesh): Promise<AsyncDisposable> {
  await members.attach(mesh)
  return { [Symbol.asyncDispose]: async () => undefined }
}

function membersOf(base: DeviceBase, ops: OpSet, signal: AbortSignal): Members {
  const { signer, clock, log, journal, packs, version } = base
  return startMembers(
    {
      ops,
      signer,
      clock,
      journal,
      log: log.child({ part: 'members' }),
      store: (added) => base.ops.append(ops.home, added),
      about: () => ({
        logs: packs.heads().slice(0, 256),
        power: base.config.power.mode,
        version,
        features: [],
      }),
    },
    signal,
  )
}

function telemetryOf(
  base: DeviceBase,
  {
    members,
    mesh,
    time,
    brokers,
  }: Pick<Home, 'members' | 'mesh' | 'time'> & { readonly brokers: Brokers },
  signal: AbortSignal,
): Promise<Telemetry> {
  const { config, packs, signer, verifier, clock, log } = base
  const { interval, max_wait: maxWaitMs, sensors } = config.telemetry
  const { retention_days: days, max_bytes: maxBytes } = config.telemetry
  const { retention_days_5m: shortDays, retention_days_1h: hourDays } = config.telemetry
  const place = (key: Uint8Array): Device | undefined =>
    members.active().find((device) => equalBytes(device.key, key))
  const reads = (reader: Uint8Array, device: Uint8Array): boolean =>
    mayReadLog(place(reader), fingerprintOf(device), members.state.policy, clock.now())
  return startTelemetry(
    {
      mesh,
      store: packs,
      signer,
      verifier,
      home: members.home,
      members: telemetryMembers(members),
      // Whoever may read keeps what it reads: so a log outlives the device that made it.
      // One that sleeps has neither the time nor the energy.
      follows: (device) => !isSleepy(base) && reads(signer.key, device),
      mayRead: reads,
      guests: guestsOf(base, { members, time }),
      epoch: () => members.state.epoch,
      time,
      sources: [
        ...builtInSources({ dataDir: config.paths.dataDir }),
        ...configuredSources(config.sensors, { clock, brokers }),
      ],
      settings: {
        enabled: sensors,
        intervalMs: interval,
        maxWaitMs,
        retentionMs: days * DAY_MS,
        keepFiveMinutesMs: shortDays * DAY_MS,
        ...(hourDays > 0 ? { keepHoursMs: hourDays * DAY_MS } : {}),
        maxBytes,
      },
      clock,
      log: log.child({ part: 'telemetry' }),
    },
    signal,
  )
}

function timeOf(
  { packs, signer, clock, random }: DeviceBase,
  { members, source }: { readonly members: Members; readonly source: ClockSource },
  signal: AbortSignal,
): Timekeeper {
  const ownMs = packs.newestSyncedMs(signer.key) ?? 0
  let signedMs = newestOpMs(members)
  members.events.on('change', () => (signedMs = newestOpMs(members)), signal)
  return createTimekeeper({
    clock,
    boot: systemBoot(),
    fallback: random.bytes(16),
    key: signer.key,
    synced: () => source.synced(),
    newestSignedMs: () => Math.max(ownMs, signedMs),
  })
}

/** Authors may lie about times, so only what stands in the home counts, and only as a hint. */
function newestOpMs({ ops, state }: Members): number {
  let newest = 0
  for (const { op } of ops.entries) {
    if (state.isEffective(op.hex)) newest = Math.max(newest, op.payload.ts)
  }
  return newest
}

/** Devices that publish, and removed ones with what stays accepted of theirs. */
function telemetryMembers(members: Members): readonly TelemetryMember[] {
  const { state } = members
  const live = new Set(members.active().map(({ key }) => toHex(key)))
  const present = [...state.devices.values()].map(({ key, role, quarantined }) => ({
    key,
    publishes: live.has(toHex(key)) && !quarantined && permits(role, 'publish'),
  }))
  const gone = [...state.removed.values()].map(({ key, lastSeq = 0 }) => ({
    key,
    publishes: false,
    lastSeq,
  }))
  return [...present, ...gone]
}

/** What one part tells the others. */
function joinParts(base: DeviceBase, home: Home, signal: AbortSignal): void {
  const { members, mesh, telemetry } = home
  const { peers, clock, journal, sensorChoices } = base
  members.events.on('change', () => telemetry.setMembers(telemetryMembers(members)), signal)
  for (const { name, on } of sensorChoices.all()) telemetry.setEnabled(name, on)

  const note = (key: Uint8Array): void => {
    const address = mesh.peers().find((peer) => equalBytes(peer.key, key))?.address
    const known = address ?? peers.get(key)?.address
    const version = members.lastHello(key)?.version ?? null
    if (known !== undefined) peers.put(key, { seenMs: clock.now(), address: known, version })
  }
  const told = (type: string, key: Uint8Array): void => {
    note(key)
    const { devices, removed } = members.state
    const device = devices.get(toHex(key)) ?? removed.get(toHex(key))
    journal.record(type, { device: peerIdOf(key), name: device?.name ?? '' })
  }
  mesh.events.on('connect', ({ key }) => told('device.online', key), signal)
  mesh.events.on('disconnect', ({ key }) => told('device.offline', key), signal)
  watchTrust(base, home, signal)
  telemetry.events.on(
    'progress',
    ({ device, packs, of }) => {
      const name = members.state.devices.get(toHex(device))?.name ?? ''
      journal.record('telemetry.progress', { device: peerIdOf(device), name, packs, of })
    },
    signal,
  )
  telemetry.events.on(
    'gap',
    ({ device, from, to }) => {
      journal.record('telemetry.gap', { device: peerIdOf(device), from, to })
    },
    signal,
  )
}
