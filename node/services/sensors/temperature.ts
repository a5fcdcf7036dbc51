import { readdirSync, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

import { sensorPart, type Sample, type SensorInfo, type PolledSource } from './source.ts'
import { numberIn } from './system.ts'

interface Probe extends SensorInfo {
  readonly path: string
}

/**
 * Every temperature that the kernel offers: thermal zones, and hwmon chips. Probes are looked for at
 * each reading, because they come and go with what is plugged in.
 */
export function temperatureSource(root: string): PolledSource {
  const probes = (): Probe[] => [...thermalZones(root), ...chips(root)]
  return {
    id: 'temperature',
    describe: () => probes().map(({ name, unit, description }) => ({ name, unit, description })),
    async read() {
      const found = probes()
      const values = await Promise.allSettled(found.map(readProbe))
      const samples = values.flatMap((value) => (value.status === 'fulfilled' ? [value.value] : []))
      const [failed] = values.filter((value) => value.status === 'rejected')
      if (samples.length === 0 && failed !== undefined) throw failed.reason
      return samples
    },
  }
}

async function readProbe({ name, unit, path }: Probe): Promise<Sample> {
  const millidegrees = numberIn(await readFile(path, 'latin1'))
  return { sensor: name, unit, value: millidegrees / 1000 }
}

function thermalZones(root: string): Probe[] {
  const folder = join(root, 'sys/class/thermal')
  return namesIn(folder, /^thermal_zone\d+$/).map((zone) => {
    const type = textIn(join(folder, zone, 'type')) ?? zone
    const number = zone.slice('thermal_zone'.length)
    return probe(`zone${number}-${sensorPart(type)}`, type, join(folder, zone, 'temp'))
  })
}

function chips(root: string): Probe[] {
  const folder = join(root, 'sys/class/hwmon')
  return namesIn(folder, /^hwmon\d+$/).flatMap((chip) => {
    const type = textIn(join(folder, chip, 'name')) ?? chip
    return namesIn(join(folder, chip), /^temp\d+_input$/).map((file) => {
      const index = file.slice('temp'.length, -'_input'.length)
      const label = textIn(join(folder, chip, `temp${index}_label`)) ?? index
      const name = `${chip.slice('hw'.length)}-${sensorPart(type)}.${sensorPart(label)}`
      return probe(name, `${type} ${label}`, join(folder, chip, file))
    })
  })
}

function probe(name: string, what: string, path: string): Probe {
  const description = `Temperature of ${what.slice(0, 64)}`
  return { name: `temperature.${name}`, unit: 'Cel', description, path }
}

/** Sorted, so that names do not depend on the order in which the kernel lists them. */
function namesIn(folder: string, pattern: RegExp): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => pattern.test(name))
      .toSorted()
  } catch {
    // A machine without this kind of probe.
    return []
  }
}

function textIn(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1').trim() || undefined
  } catch {
    // The file is optional.
    return undefined
  }
}
