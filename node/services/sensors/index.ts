/** Everything this machine can measure by itself, and the sensors that a person configured. */
import { networkSource } from './network.ts'
import type { PolledSource } from './source.ts'
import { cpuSource, diskSource, loadSource, memorySource, uptimeSource } from './system.ts'
import { temperatureSource } from './temperature.ts'

export { isChosen } from './source.ts'
export { configuredSources } from './configured.ts'
export { createGate, type Gate } from './pace.ts'
export type {
  Pace,
  PolledSource,
  PushSource,
  Sample,
  SensorInfo,
  SensorSource,
  Sink,
  StreamSource,
} from './source.ts'

/** `root` is where /proc and /sys are found; `dataDir` is on the file system to watch. */
export function builtInSources(options: {
  readonly root?: string
  readonly dataDir: string
}): PolledSource[] {
  const { root = '/', dataDir } = options
  return [
    loadSource(root),
    cpuSource(root),
    memorySource(root),
    uptimeSource(root),
    diskSource(dataDir),
    networkSource(root),
    temperatureSource(root),
  ]
}
