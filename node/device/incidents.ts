/** Incidents in a home: what the other parts tell becomes a report, and who may read them. */
import { peerIdOf } from '../../protocols/identity/index.ts'
import { permits } from '../../protocols/members/index.ts'
import { equalBytes, toHex } from '../../protocols/wire/index.ts'
import type { RunMarker } from '../run-marker.ts'
import { startIncidents, type Incident, type Incidents } from '../services/incidents.ts'
import type { DeviceBase } from './base.ts'
import type { Home } from './home.ts'

export function incidentsOf(
  base: DeviceBase,
  { members, mesh, time }: Pick<Home, 'members' | 'mesh' | 'time'>,
  signal: AbortSignal,
): Promise<Incidents> {
  const { clock, incidents, log, signer, verifier, version } = base
  return startIncidents(
    {
      mesh,
      store: incidents,
      signer,
      verifier,
      home: members.home,
      version,
      isOwner(device) {
        const role = members.active().find(({ key }) => equalBytes(key, device))?.role
        return role !== undefined && permits(role, 'inspect')
      },
      time,
      clock,
      log: log.child({ part: 'incidents' }),
    },
    signal,
  )
}

/** Report what the other parts come across, and how the run before ended. */
export function joinIncidents(base: DeviceBase, home: Home, signal: AbortSignal): void {
  const { calls, incidents, members, mesh, telemetry } = home
  const { journal, marker, packs } = base
  const before = endOf(marker)
  if (before !== undefined) incidents.record(before)
  const stopHearing = packs.onFull((full) => {
    journal.record(full ? 'storage.full' : 'storage.free')
    if (full) base.log.error('the disk is full: old readings are given up, and new ones wait')
    else base.log.info('the disk has room again')
    if (full) incidents.record({ kind: 'disk-full' })
  })
  signal.addEventListener('abort', stopHearing, { once: true })
  members.events.on('change', () => incidents.refresh(), signal)
  void countWrongCodes(base, incidents, signal)
  mesh.events.on('refused', ({ why }) => incidents.attack(`MESH_${codeOf(why)}`), signal)
  members.events.on('refused', ({ device, code }) => incidents.attack(code, device), signal)
  telemetry.events.on('refused', ({ device, code }) => incidents.attack(code, device), signal)
  calls.events.on('refused', ({ device, code }) => incidents.attack(code, device), signal)
  telemetry.events.on(
    'fork',
    ({ device }) => incidents.record({ kind: 'fork', subject: device }),
    signal,
  )
  incidents.events.on(
    'incident',
    ({ device, kind, seq }) => {
      const role = members.self?.role
      if (role === undefined || !permits(role, 'inspect')) return
      const name = members.state.devices.get(toHex(device))?.name ?? ''
      journal.record('incident', { device: peerIdOf(device), name, kind, seq })
    },
    signal,
  )
}

/** Wrong pairing codes, also those from before this device had a home. */
async function countWrongCodes(
  { journal }: DeviceBase,
  incidents: Incidents,
  signal: AbortSignal,
): Promise<void> {
  for await (const { type } of journal.follow(0, signal)) {
    if (type === 'pairing.tried') incidents.attack('PAIRING_WRONG_CODE')
  }
}

/** `not a member` as `NOT_A_MEMBER`. */
function codeOf(why: string): string {
  return why
    .toUpperCase()
    .replaceAll(/[^A-Z0-9]+/g, '_')
    .slice(0, 48)
}

function endOf({ before }: RunMarker): Incident | undefined {
  if (before === undefined) return undefined
  const { at, facts, stage } = before
  if (facts === undefined) return { kind: 'unclean-end', sinceMs: at, stage }
  const kind = facts.code === 'NODE_DATABASE' ? 'database-damaged' : 'crash'
  return { kind, sinceMs: at, stage, code: facts.code, places: facts.places }
}
