import type { SettingsOf } from '../../config-sensors.ts'
import type { Clock } from '../../env.ts'
import { readSmallFile } from '../../machine/bounded.ts'
import { textAt, valueFrom } from '../../machine/values.ts'
import { watchFile } from '../../machine/watch-file.ts'
import type { PolledSource, SensorInfo } from './source.ts'

/** One number somewhere in a file. */
export function fileSensor(
  settings: SettingsOf<'file'>,
  { clock }: { readonly clock: Clock },
): Partial<SensorInfo> & Reader {
  const valueIn = (text: string): number => valueFrom(textAt(text, settings.pattern), settings)
  return { description: `From ${settings.path}`, ...readerOf(settings, clock, valueIn) }
}

/** A file that says 0 or 1: a pin, as the kernel or a driver shows it. */
export function gpioSensor(
  settings: SettingsOf<'gpio'>,
  { clock }: { readonly clock: Clock },
): Partial<SensorInfo> & Reader {
  const valueIn = (text: string): number => {
    const level = text.trim()
    if (level !== '0' && level !== '1') throw new Error(`${settings.path} says neither 0 nor 1`)
    return valueFrom((level === '1') !== settings.invert, settings)
  }
  return { description: `Pin ${settings.path}`, ...readerOf(settings, clock, valueIn) }
}

/** One value, now. */
export interface Reader extends Pick<PolledSource, 'watch'> {
  read(signal: AbortSignal): Promise<number>
}

/** A file that is written in place is empty for a moment. */
const SETTLE_MS = 5

function readerOf(
  { path, watch = false }: { readonly path: string; readonly watch?: boolean | undefined },
  clock: Clock,
  valueIn: (text: string) => number,
): Reader {
  if (!watch) return { read: async () => valueIn(await readSmallFile(path)) }
  return {
    async read(signal) {
      const text = await readSmallFile(path)
      if (text !== '') return valueIn(text)
      await clock.sleep(SETTLE_MS, signal)
      return valueIn(await readSmallFile(path))
    },
    watch: (onChange, signal) => watchFile(path, clock, onChange, signal),
  }
}
