import type { SettingsOf } from '../../config-sensors.ts'
import { readSmallFile } from '../../machine/bounded.ts'
import { textAt, valueFrom } from '../../machine/values.ts'
import type { SensorInfo } from './source.ts'

/** One number somewhere in a file. */
export function fileSensor(settings: SettingsOf<'file'>): Partial<SensorInfo> & Reader {
  return {
    description: `From ${settings.path}`,
    read: async () =>
      valueFrom(textAt(await readSmallFile(settings.path), settings.pattern), settings),
  }
}

/** A file that says 0 or 1: a pin, as the kernel or a driver shows it. */
export function gpioSensor(settings: SettingsOf<'gpio'>): Partial<SensorInfo> & Reader {
  return {
    description: `Pin ${settings.path}`,
    async read() {
      const level = (await readSmallFile(settings.path)).trim()
      if (level !== '0' && level !== '1') throw new Error(`${settings.path} says neither 0 nor 1`)
      return valueFrom((level === '1') !== settings.invert, settings)
    },
  }
}

/** One value, now. */
export interface Reader {
  read(signal: AbortSignal): Promise<number>
}
