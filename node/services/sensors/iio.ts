import { readdir } from 'node:fs/promises'
import { join } from 'node:path'

import type { SettingsOf } from '../../config-sensors.ts'
import { readSmallFile } from '../../machine/bounded.ts'
import { valueFrom } from '../../machine/values.ts'
import type { Reader } from './file.ts'
import type { SensorInfo } from './source.ts'

/** The kernel's units (Documentation/ABI/testing/sysfs-bus-iio) in those of SenML. */
const UNITS: Readonly<Record<string, { readonly unit: string; readonly factor: number }>> = {
  temp: { unit: 'Cel', factor: 1e-3 },
  humidityrelative: { unit: '%RH', factor: 1e-3 },
  pressure: { unit: 'Pa', factor: 1e3 },
  voltage: { unit: 'V', factor: 1e-3 },
  current: { unit: 'A', factor: 1e-3 },
  power: { unit: 'W', factor: 1e-3 },
  resistance: { unit: 'Ohm', factor: 1 },
  illuminance: { unit: 'lx', factor: 1 },
  accel: { unit: 'm/s2', factor: 1 },
  anglvel: { unit: 'rad/s', factor: 1 },
  distance: { unit: 'm', factor: 1 },
}

/** A channel of a converter or sensor chip, such as a BME280: what the driver computed, or made of raw. */
export function iioSensor(
  settings: SettingsOf<'iio'>,
  { root }: { readonly root: string },
): Partial<SensorInfo> & Reader {
  const { device, channel } = settings
  const known = UNITS[kindOf(channel)]
  return {
    // SenML knows no unit for the speed of turning.
    unit: known === undefined || known.unit === 'rad/s' ? '' : known.unit,
    description: `${channel} of ${device}`,
    async read() {
      const folder = await folderOf(join(root, 'sys/bus/iio/devices'), device)
      const value = (await processed(folder, channel)) ?? (await fromRaw(folder, channel))
      const shown = value * (known?.factor ?? 1)
      // A thousandth of a number has digits of its own.
      return valueFrom(Number(shown.toPrecision(12)), settings)
    },
  }
}

/** `voltage` for voltage0 and voltage0-voltage1, `accel` for accel_x. */
function kindOf(channel: string): string {
  return /^[a-z]+/.exec(channel)?.[0] ?? ''
}

/** By the kernel's name (iio:device0), or by the chip's, of which there must be one. */
async function folderOf(devices: string, wanted: string): Promise<string> {
  if (/^iio:device\d+$/.test(wanted)) return join(devices, wanted)
  const names = (await entriesOf(devices)).filter((name) => /^iio:device\d+$/.test(name))
  const found: string[] = []
  for (const name of names.toSorted()) {
    const chip = await optional(join(devices, name, 'name'))
    if (chip?.trim() === wanted) found.push(name)
  }
  const [first] = found
  if (first === undefined) throw new Error(`there is no chip named ${wanted}`)
  if (found.length > 1) throw new Error(`there are several: ${found.join(', ')}; name one of them`)
  return join(devices, first)
}

async function entriesOf(folder: string): Promise<string[]> {
  try {
    return await readdir(folder)
  } catch {
    // A machine without converters.
    return []
  }
}

async function processed(folder: string, channel: string): Promise<number | undefined> {
  const text = await optional(join(folder, `in_${channel}_input`))
  return text === undefined ? undefined : plain(text)
}

/** (raw + offset) × scale; the latter two may be shared by all channels of a kind. */
async function fromRaw(folder: string, channel: string): Promise<number> {
  const raw = plain(await readSmallFile(join(folder, `in_${channel}_raw`)))
  const shared = async (what: string): Promise<string | undefined> =>
    (await optional(join(folder, `in_${channel}_${what}`))) ??
    (await optional(join(folder, `in_${kindOf(channel)}_${what}`)))
  const offset = await shared('offset')
  const scale = await shared('scale')
  return (
    (raw + (offset === undefined ? 0 : plain(offset))) * (scale === undefined ? 1 : plain(scale))
  )
}

function plain(text: string): number {
  return valueFrom(text, { scale: 1, offset: 0 })
}

async function optional(path: string): Promise<string | undefined> {
  try {
    return await readSmallFile(path)
  } catch (error) {
    const { cause } = error as { cause?: NodeJS.ErrnoException }
    if (cause?.code === 'ENOENT') return undefined
    throw error
  }
}
