/** Everything this machine can measure by itself. */
import { networkSource } from './network.ts'
import type { SensorSource } from './source.ts'
import { cpuSource, diskSource, loadSource, memorySource, uptimeSource } from './system.ts'
import { temperatureSource } from './temperature.ts'

export { isChosen } from './source.ts'
export type { SensorInfo, SensorSource } from './source.ts'

/** `root` is where /proc and /sys are found; `dataDir` is on the file system to watch. */
export function builtInSources(options: {
  readonly root?: string
  readonly dataDir: string
}): SensorSource[] {
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
