/** What the home says of Kith's own releases, for those outside who show it. */
import { asError, type Clock, type GatewayDevice, type Logger } from '../node/index.ts'
import type { SinkDevice } from './sinks/sink.ts'

type Versions = NonNullable<SinkDevice['update']>
type State = Awaited<ReturnType<GatewayDevice['view']['updates']>>

/** The name under which a device installs Kith itself. */
const OWN = 'kith'
const LOOK_MS = 60_000

/** By device id: the version that it runs, and the newest that the home knows. Pure. */
export function versionsIn(
  { channels, devices }: Pick<State, 'channels' | 'devices'>,
  running: (deviceId: string) => string | undefined,
): ReadonlyMap<string, Versions> {
  const releases = channels.flatMap((one) => one.releases)
  const found = new Map<string, Versions>()
  for (const { device, name, channel, version, phase } of devices) {
    if (name !== OWN) continue
    const isIn = phase === 'installed' || phase === 'healthy'
    const installed = isIn ? version : running(device)
    if (installed === undefined) continue
    const own = channels.find((one) => one.name === channel)?.releases ?? releases
    const offered = own.filter((one) => one.name === OWN && !one.conflict)
    const newest = offered.toSorted((a, b) => b.build - a.build)[0]?.version
    found.set(device, { installed, latest: newest ?? installed })
  }
  return found
}

export interface UpdatesDeps {
  readonly device: Pick<GatewayDevice, 'devices' | 'home' | 'view'>
  readonly clock: Clock
  readonly log: Logger
  /** Only where something is another than before. */
  readonly onChange: (versions: ReadonlyMap<string, Versions>) => void
}

/** Looks until `signal` aborts. */
export async function watchUpdates(deps: UpdatesDeps, signal: AbortSignal): Promise<void> {
  let told = '[]'
  while (!signal.aborted) {
    try {
      const versions = await look(deps)
      const text = JSON.stringify([...versions])
      if (text !== told) deps.onChange(versions)
      told = text
    } catch (error) {
      deps.log.debug({ why: asError(error).message }, 'nothing is known of updates')
    }
    await deps.clock.sleep(LOOK_MS, signal).catch(() => undefined)
  }
}

async function look({ device }: UpdatesDeps): Promise<ReadonlyMap<string, Versions>> {
  if (device.home() === undefined) return new Map()
  const running = new Map(device.devices().map(({ id, version }) => [id, version]))
  return versionsIn(await device.view.updates(), (id) => running.get(id))
}
