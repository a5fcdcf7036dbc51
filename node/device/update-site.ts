/** How this device installs: what its owner wrote into its settings, for the installers. */
import type { Config } from '../config.ts'
import type { Site } from '../services/install/index.ts'

const REBOOT = ['systemctl', 'reboot']

/** What is set for releases of one name; what is not set is left out. */
export function siteOf(
  { update }: Pick<Config, 'update'>,
  name: string,
): Omit<Site, 'root' | 'clock'> {
  const { exec, dpkg, oci, rauc, swupdate, slot, slots } = update
  const reboot = update.reboot.length > 0 ? update.reboot : REBOOT
  const unit = valuesOf(update.restart).get(name)
  return {
    ...(unit !== undefined && { restart: { unit } }),
    ...(exec.length > 0 && { exec }),
    ...(dpkg.length > 0 && { dpkg }),
    ...(oci.length > 0 && { engine: oci }),
    ...(rauc.length > 0 && { rauc: { argv: rauc, reboot } }),
    ...(swupdate.length > 0 && {
      swupdate: { argv: swupdate, slot, slots: selections(slots), reboot },
    }),
  }
}

/** SWUpdate writes `SET,MODE`; settings have commas between entries. */
function selections(slots: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries([...valuesOf(slots)].map(([name, at]) => [name, at.replace(':', ',')]))
}

function valuesOf(entries: readonly string[]): ReadonlyMap<string, string> {
  return new Map(
    entries.map((entry) => {
      const at = entry.indexOf('=')
      return [entry.slice(0, at), entry.slice(at + 1)]
    }),
  )
}
