/** Devices of the home as rows for people, this one first, then by name; removed ones last. */
import { fingerprintOf, peerIdOf } from '../../protocols/identity/index.ts'
import { boundBy, type Device } from '../../protocols/members/index.ts'
import { equalBytes } from '../../protocols/wire/index.ts'
import type { DeviceRow, DeviceState } from '../api/view.ts'
import type { DeviceBase } from './base.ts'
import type { Home as WholeHome } from './home.ts'

/** A powered device that has been gone for less may be about to come back. */
const LATE_MS = 60_000

/** What rows are made of. */
type Home = Omit<WholeHome, 'updates'>

/** This device before it has a home. */
export function homelessRow({ signer, config, version }: DeviceBase): DeviceRow {
  return {
    id: peerIdOf(signer.key),
    name: config.device.name,
    fingerprint: fingerprintOf(signer.key),
    role: null,
    state: 'online',
    lastSeen: null,
    addrs: [],
    version,
    quarantined: false,
    self: true,
  }
}

export function deviceRows(base: DeviceBase, home: Home): readonly DeviceRow[] {
  const { state } = home.members
  const live = home.members.active()
  const present = live.map((device) => presentRow(base, home, device))
  const gone = [...state.removed.values(), ...expired(state.devices.values(), live)].map(
    ({ key, name }) => goneRow(base, key, name),
  )
  return [...present, ...gone].toSorted(byPlace)
}

function expired(all: Iterable<Device>, live: readonly Device[]): readonly Device[] {
  const known = new Set(live)
  return [...all].filter((device) => !known.has(device))
}

function byPlace(a: DeviceRow, b: DeviceRow): number {
  const place = (row: DeviceRow): number => (row.self ? 0 : row.state === 'removed' ? 2 : 1)
  return place(a) - place(b) || a.name.localeCompare(b.name) || (a.id < b.id ? -1 : 1)
}

function presentRow(base: DeviceBase, home: Home, device: Device): DeviceRow {
  const row = equalBytes(device.key, base.signer.key)
    ? selfRow(base, home, device)
    : peerRow(base, home, device)
  return {
    ...row,
    ...termsIn(device),
    ...logOf(home, device.key),
    quarantined: device.quarantined || home.telemetry.isQuarantined(device.key),
  }
}

function termsIn({ role, caps, expiresAtMs }: Device): Pick<DeviceRow, 'allow' | 'until'> {
  return {
    ...(boundBy(role, 'read') === 'caps' ? { allow: caps } : {}),
    ...(expiresAtMs === undefined ? {} : { until: expiresAtMs }),
  }
}

function logOf({ telemetry }: Home, key: Uint8Array): Pick<DeviceRow, 'log'> {
  const log = telemetry.progress(key)
  return log === undefined ? {} : { log }
}

function selfRow(base: DeviceBase, { mesh }: Home, { name, role }: Device): DeviceRow {
  const lastSeen = base.clock.now()
  return { ...homelessRow(base), name, role, lastSeen, addrs: mesh.addresses() }
}

function peerRow(
  base: DeviceBase,
  { mesh, members, mailbox }: Home,
  { key, name, role }: Device,
): DeviceRow {
  const peer = mesh.peers().find((one) => equalBytes(one.key, key))
  const last = base.peers.get(key)
  const seen =
    peer === undefined ? last : { ...peer, seenMs: base.clock.now(), version: last?.version }
  return {
    ...naming(key, name),
    role,
    ...(sleepOf(mailbox, key) ?? { state: stateOf(base, peer !== undefined, last?.seenMs) }),
    lastSeen: seen?.seenMs ?? null,
    addrs: seen === undefined ? [] : [seen.address],
    version: members.lastHello(key)?.version ?? seen?.version ?? null,
  }
}

/** What is known of a device that sleeps; undefined of one that does not. */
function sleepOf(
  mailbox: Home['mailbox'],
  key: Uint8Array,
): Pick<DeviceRow, 'state' | 'dueAt'> | undefined {
  const { state, dueMs } = mailbox.presence(key)
  if (state === 'offline') return undefined
  return { state, ...(dueMs === undefined ? {} : { dueAt: dueMs }) }
}

function stateOf(
  { clock }: DeviceBase,
  connected: boolean,
  seenMs: number | undefined,
): DeviceState {
  if (connected) return 'online'
  if (seenMs === undefined) return 'unknown'
  return clock.now() - seenMs < LATE_MS ? 'late' : 'lost'
}

function goneRow({ peers, signer }: DeviceBase, key: Uint8Array, name: string): DeviceRow {
  const seen = peers.get(key)
  return {
    ...naming(key, name),
    role: null,
    state: 'removed',
    lastSeen: seen?.seenMs ?? null,
    addrs: [],
    version: seen?.version ?? null,
    self: equalBytes(key, signer.key),
  }
}

function naming(
  key: Uint8Array,
  name: string,
): Pick<DeviceRow, 'id' | 'name' | 'fingerprint' | 'quarantined' | 'self'> {
  const id = peerIdOf(key)
  return { id, name, fingerprint: fingerprintOf(key), quarantined: false, self: false }
}
