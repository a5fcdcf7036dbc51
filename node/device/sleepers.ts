/**
 * Sleep, from both sides. A sleepy device has a mesh that is on in windows, and a Sleeper that opens
 * them; every device tells its mesh which others sleep, so that it does not dial them in vain.
 */
import type { Reading } from '../../protocols/telemetry/index.ts'
import { equalBytes } from '../../protocols/wire/index.ts'
import { createDutyMesh, type DutyMesh } from '../mesh/duty-mesh.ts'
import { startMesh, type Mesh, type MeshOptions } from '../mesh/mesh.ts'
import type { Calls } from '../services/calls/index.ts'
import type { Members } from '../services/members/members.ts'
import type { Telemetry } from '../services/telemetry/index.ts'
import type { DeviceBase } from './base.ts'
import { readPackets } from './packets.ts'
import { createSleeper, type Sleeper, type WindowMail } from './sleeper.ts'
import { watchWakeFile } from './wake-file.ts'

interface Parts {
  readonly members: Members
  readonly mesh: Mesh
  readonly telemetry: Telemetry
}

/** Roles that may keep the mail of others. */
const KEEPERS: ReadonlySet<string> = new Set(['owner', 'member'])

export function isSleepy({ config }: Pick<DeviceBase, 'config'>): boolean {
  return config.power.mode === 'sleepy'
}

/** A mesh that is always on, or one that is on in windows. */
export async function meshFor(
  base: DeviceBase,
  greet: MeshOptions['greet'],
  signal: AbortSignal,
): Promise<Mesh> {
  const { config, seed, clock, random, log, db } = base
  const { port, interfaces, multicast, peers } = config.mesh
  const options = {
    seed: seed.reveal(),
    port,
    ...(interfaces.length > 0 ? { interfaces } : {}),
    directPeers: peers,
    clock,
    random,
    log: log.child({ part: 'mesh' }),
    datastoreDb: db,
    greet,
  }
  if (isSleepy(base)) return createDutyMesh({ ...options, maySearch: multicast }, signal)
  return startMesh({ ...options, multicast }, signal)
}

export function isDutyMesh(mesh: Mesh): mesh is DutyMesh {
  return 'window' in mesh
}

/** Undefined where this device does not sleep. */
export function sleeperOf(
  base: DeviceBase,
  { members, mesh, telemetry }: Parts,
  { mail, chosen }: { readonly mail: WindowMail; readonly chosen: () => readonly Uint8Array[] },
  signal: AbortSignal,
): Sleeper | undefined {
  if (!isDutyMesh(mesh)) return undefined
  const { clock, config, log, peers, wakes } = base
  const seenMs = (key: Uint8Array): number => peers.get(key)?.seenMs ?? 0
  const others = (): Uint8Array[] =>
    members
      .active()
      .filter(({ key, role }) => KEEPERS.has(role) && !equalBytes(key, mesh.key))
      .map(({ key }) => key)
      .toSorted((a, b) => seenMs(b) - seenMs(a))
  const sleeper = createSleeper(
    {
      mesh,
      mail,
      parents: () => ({ chosen: chosen(), others: others() }),
      log: {
        first: telemetry.first,
        flush: () => void telemetry.flushNow(),
        heads: (parent) => ({
          own: telemetry.lastSeq(mesh.key),
          theirs: headAt(members, parent, mesh.key) ?? telemetry.lastSeq(mesh.key),
        }),
      },
      wakes,
      packets: readPackets,
      settings: config.power,
      clock,
      logger: log.child({ part: 'power' }),
    },
    signal,
  )
  const alarms = new Set(config.sensors.flatMap(({ alarm, name }) => (alarm === true ? name : [])))
  const alarmed = changesIn(alarms)
  telemetry.events.on(
    'measured',
    (reading) => void (alarmed(reading) && sleeper.alarm(reading.sensor)),
    signal,
  )
  if (config.power.wake_file !== '') {
    void watchWakeFile(
      config.power.wake_file,
      { clock, log },
      (reason) => void sleeper.alarm(reason),
      signal,
    )
  }
  return sleeper
}

/** Tells whether a value of one of these sensors is another one than before; the first one is not. */
function changesIn(
  sensors: ReadonlySet<string>,
): (reading: Pick<Reading, 'sensor' | 'value'>) => boolean {
  const last = new Map<string, Reading['value']>()
  return ({ sensor, value }) => {
    if (!sensors.has(sensor)) return false
    const before = last.get(sensor)
    last.set(sensor, value)
    return before !== undefined && before !== value
  }
}

/** News of releases, and what is fetched of them, keep a window open, up to its length. */
export function updatesAwake(
  mesh: Mesh,
  updates: { settled(signal: AbortSignal): Promise<void> },
  signal: AbortSignal,
): void {
  if (!isDutyMesh(mesh)) return
  let alone = new AbortController()
  mesh.events.on(
    'connect',
    () => {
      if (alone.signal.aborted) alone = new AbortController()
      void mesh.keepOpen(updates.settled(AbortSignal.any([signal, alone.signal])))
    },
    signal,
  )
  mesh.events.on('disconnect', () => void (mesh.peers().length === 0 && alone.abort()), signal)
}

/** Calls of a device that sleeps: one to another device opens a window, and keeps it open. */
export function callsAwake(
  calls: Calls,
  { mesh, sleeper }: { readonly mesh: Mesh; readonly sleeper: Sleeper },
): Calls {
  if (!isDutyMesh(mesh)) return calls
  return {
    ...calls,
    call(wanted, signal) {
      const made = calls.call(wanted, signal)
      if (equalBytes(wanted.to, mesh.key)) return made
      void sleeper.alarm('call')
      return mesh.keepOpen(made)
    },
  }
}

/** The highest number of our log that `parent` named when it greeted us. */
function headAt(
  members: Members,
  parent: Uint8Array | undefined,
  own: Uint8Array,
): number | undefined {
  if (parent === undefined) return undefined
  const logs = members.lastHello(parent)?.logs
  return logs?.find(({ device }) => equalBytes(device, own))?.seq ?? 0
}

/** Tell the mesh who sleeps, by what each device said of itself last; `known` adds what others said. */
export function followSleepers(
  { members, mesh }: Pick<Parts, 'members' | 'mesh'>,
  known: (key: Uint8Array) => boolean,
  signal: AbortSignal,
): { readonly refresh: () => void } {
  const refresh = (): void => {
    const sleeps = (key: Uint8Array): boolean =>
      members.lastHello(key)?.power === 'sleepy' || known(key)
    mesh.setSleepers(members.active().flatMap(({ key }) => (sleeps(key) ? [key] : [])))
  }
  mesh.events.on('connect', refresh, signal)
  members.events.on('change', refresh, signal)
  refresh()
  return { refresh }
}
