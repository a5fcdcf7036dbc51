/** The care side of `NodeView`: doctor, settings, events, and starting over. */
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
    removed: () => home() !== undefined && home()?.members.self === undefined,
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
