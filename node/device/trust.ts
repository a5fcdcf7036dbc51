/**
 * Devices that were caught with two histories: every device of the home alarms, keeps what comes
 * from them apart, and trusts them again when an owner grants their place anew. An owner that cannot
 * do so, because the device stands beside or above it or is itself, decides for this device alone.
 */
import { keyOfPeerId, peerIdOf } from '../../protocols/identity/index.ts'
import { mayAct, MembersError, regrant } from '../../protocols/members/index.ts'
import { equalBytes, toHex } from '../../protocols/wire/index.ts'
import { resolveDevice } from '../api/device-ref.ts'
import type { NodeView } from '../api/view.ts'
import { NodeError } from '../errors.ts'
import { openDistrustStore } from '../storage/distrust.ts'
import type { DeviceBase } from './base.ts'
import type { Home } from './home.ts'
import { deviceRows } from './rows.ts'

type Parts = Pick<Home, 'members' | 'telemetry'>

/** Alarm when a device is caught, and hear when an owner trusts it again. */
export function watchTrust(base: DeviceBase, { members, telemetry }: Parts, signal: AbortSignal) {
  const store = openDistrustStore(base.db)
  const look = (): void => {
    for (const { device, grant } of store.all()) {
      const now = members.state.devices.get(toHex(device))?.grant
      if (now !== undefined && !equalBytes(now, grant)) release(base, { telemetry }, device)
    }
  }
  telemetry.events.on(
    'fork',
    ({ device, seq }) => {
      const { grant, name = '' } = members.state.devices.get(toHex(device)) ?? {}
      if (grant !== undefined) store.put(device, grant)
      base.journal.record('telemetry.fork', { device: peerIdOf(device), name, seq })
    },
    signal,
  )
  members.events.on('change', look, signal)
  look()
  // Caught just before this device was switched off.
  const noted = new Set(store.all().map(({ device }) => toHex(device)))
  for (const [hex, { key, grant }] of members.state.devices) {
    if (telemetry.isQuarantined(key) && !noted.has(hex)) store.put(key, grant)
  }
}

function release(
  { db, journal }: DeviceBase,
  { telemetry }: Pick<Home, 'telemetry'>,
  key: Uint8Array,
): void {
  telemetry.release(key)
  openDistrustStore(db).delete(key)
  journal.record('telemetry.trusted', { device: peerIdOf(key) })
}

export function trustView(base: DeviceBase, requireHome: () => Home): Pick<NodeView, 'trust'> {
  return {
    async trust(ref) {
      const home = requireHome()
      const { members, telemetry } = home
      const { id } = resolveDevice(ref, deviceRows(base, home))
      const key = keyOfPeerId(id)
      const { self } = members
      if (self === undefined || !mayAct(self, 'grant', base.clock.now())) {
        throw new NodeError('NODE_DENIED', 'Only an owner’s device can say that.')
      }
      if (!telemetry.isQuarantined(key) && !isQuarantined(home, key)) {
        throw new NodeError('NODE_CONFLICT', 'This device is trusted already.', {
          hint: 'Nothing was changed.',
        })
      }
      grantAnew(home, key)
      if (telemetry.isQuarantined(key)) release(base, home, key)
      return resolveDevice(id, deviceRows(base, home))
    },
  }
}

/** By its acts of membership. */
function isQuarantined({ members }: Home, key: Uint8Array): boolean {
  return members.state.devices.get(toHex(key))?.quarantined === true
}

/** The same place once more, where this device may give it: so all devices hear. */
function grantAnew({ members }: Home, subject: Uint8Array): void {
  const device = members.state.devices.get(toHex(subject))
  if (device === undefined) return
  const { role, name, caps, expiresAtMs: end, paired = 'direct' } = device
  const expires = end === undefined ? {} : { expiresAtMs: end }
  try {
    members.act((context) => regrant(context, { subject, role, name, caps, paired, ...expires }))
  } catch (error) {
    if (!(error instanceof MembersError)) throw error
  }
}
