/** The care side of `NodeView`: doctor, settings, events, and starting over. */
import { newestWordMs } from '../../protocols/members/index.ts'
import { equalBytes, toHex } from '../../protocols/wire/index.ts'
import type { Check, NodeView } from '../api/view.ts'
import { configRows } from '../config.ts'
import { examine, type Patient } from '../services/doctor.ts'
import type { DeviceBase } from './base.ts'
import type { Home } from './home.ts'
import { deviceRows } from './rows.ts'

type CareView = Pick<NodeView, 'doctor' | 'config' | 'events' | 'reset'>

export function careView(
  base: DeviceBase,
  home: () => Home | undefined,
  reset: () => Promise<void>,
): CareView {
  return {
    doctor: async () => [...(await examine(patientOf(base, home))), ...brokenThings(home())],
    config: async () => configRows(base.config),
    events: (since, signal) => base.journal.follow(since, signal),
    reset,
  }
}

/** One check for each part of the settings that does not work. */
function brokenThings(home: Home | undefined): readonly Check[] {
  return Array.from(home?.actuators.problems() ?? [], ([check, cause]) => ({
    check,
    ok: false,
    cause,
    cure: `Look at [${check}] in the settings file, and at what it names.`,
  }))
}

/** Nobody but owners changes the home, so they, and who is removed, need no word of others. */
function newsOf({ clock, peers }: DeviceBase, home: Home | undefined): number | undefined {
  if (home === undefined || home.time.quality() === 'unset') return undefined
  const { members, mesh } = home
  if (members.self === undefined || members.self.role === 'owner') return undefined
  const now = clock.now()
  // An owner that is, or was, connected has told all that it knew.
  const met = members
    .active()
    .filter(({ role }) => role === 'owner')
    .map(({ key }) => {
      const on = mesh.peers().some((peer) => equalBytes(peer.key, key))
      return on ? now : Math.min(now, peers.get(key)?.seenMs ?? 0)
    })
  return Math.max(newestWordMs(members.ops, members.state, now), ...met)
}

/** It has a home's past, and that home never gave it a place. */
function isRestored({ signer }: DeviceBase, home: Home | undefined): boolean {
  if (home === undefined || home.members.self !== undefined) return false
  const { devices, removed } = home.members.state
  const key = toHex(signer.key)
  return !devices.has(key) && !removed.has(key)
}

function patientOf(base: DeviceBase, home: () => Home | undefined): Patient {
  const { clock, config } = base
  return {
    clock,
    dataDir: config.paths.dataDir,
    multicastWanted: config.mesh.multicast,
    port: config.mesh.port,
    time: () => {
      const current = home()
      return current === undefined
        ? undefined
        : {
            quality: current.time.quality(),
            floorMs: current.time.floorMs(),
            unplaced: current.telemetry.unplaced(base.signer.key)?.packs ?? 0,
          }
    },
    newsMs: () => newsOf(base, home()),
    removed: () => home()?.members.state.removed.has(toHex(base.signer.key)) === true,
    restored: () => isRestored(base, home()),
    mesh() {
      const current = home()
      if (current === undefined) return undefined
      const others = deviceRows(base, current).filter(
        ({ self, state }) => !self && state !== 'removed',
      )
      return {
        multicast: current.mesh.multicast,
        addresses: current.mesh.addresses(),
        connected: others.filter(({ state }) => state === 'online').length,
        absent: others
          .filter(({ state }) => state !== 'online')
          .map(({ id, name }) => ({ name, announced: current.announced.has(id) })),
      }
    },
  }
}
