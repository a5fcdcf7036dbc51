/** Files in which the kernel shows pins, lights and pulses, and files of a person's own. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'

import type { PropertyOf } from '../../config-properties.ts'
import { readSmallFile, writeSmallFile } from '../../machine/bounded.ts'
import type { Driver, Scalar } from './actuator.ts'
import { readValue, worded } from './values.ts'

/** A file that says 0 or 1, in the kernel's own way of showing a pin. */
export function pinFile(path: string, { invert, writable }: PropertyOf<'gpio'>): Driver {
  return {
    async read() {
      const level = readValue(await readSmallFile(path), { value: 'boolean' })
      return (level === true) !== invert
    },
    ...(writable
      ? { write: (value) => writeSmallFile(path, (value === true) === invert ? '0' : '1') }
      : {}),
  }
}

/** Kernel: Documentation/leds/leds-class.rst. */
export function ledDriver(settings: PropertyOf<'led'>, root: string): Driver {
  const folder = join(root, 'sys/class/leds', settings.led)
  const brightest = async (): Promise<number> => numberIn(join(folder, 'max_brightness'))
  return {
    async read() {
      const now = await numberIn(join(folder, 'brightness'))
      return settings.value === 'boolean' ? now > 0 : rounded(now / (await brightest()))
    },
    async write(value) {
      await stopTrigger(join(folder, 'trigger'))
      const part = typeof value === 'number' ? value : Number(value)
      const level = Math.round(part * (await brightest()))
      await writeSmallFile(join(folder, 'brightness'), String(level))
    },
  }
}

/** What blinks by itself would go on to do so. */
async function stopTrigger(path: string): Promise<void> {
  if (!existsSync(path)) return
  if (!(await readSmallFile(path)).includes('[none]')) await writeSmallFile(path, 'none')
}

/** Kernel: Documentation/driver-api/pwm.rst. */
export function pwmDriver(settings: PropertyOf<'pwm'>, root: string): Driver {
  const chip = join(root, 'sys/class/pwm', settings.chip)
  const folder = join(chip, `pwm${settings.channel}`)
  const period = Math.round(1e9 / settings.frequency)
  let running = false

  async function start(): Promise<void> {
    if (!existsSync(folder)) await writeSmallFile(join(chip, 'export'), String(settings.channel))
    // No period is shorter than its pulse, not even for a moment.
    if ((await numberIn(join(folder, 'duty_cycle'))) > period) {
      await writeSmallFile(join(folder, 'duty_cycle'), '0')
    }
    await writeSmallFile(join(folder, 'period'), String(period))
  }

  return {
    async read() {
      if (!existsSync(folder) || (await numberIn(join(folder, 'enable'))) === 0) return 0
      const whole = await numberIn(join(folder, 'period'))
      return whole === 0 ? 0 : rounded((await numberIn(join(folder, 'duty_cycle'))) / whole)
    },
    async write(value) {
      if (!running) await start()
      await writeSmallFile(join(folder, 'duty_cycle'), String(Math.round(Number(value) * period)))
      if (!running) await writeSmallFile(join(folder, 'enable'), '1')
      running = true
    },
  }
}

/** True and false are 1 and 0 where nothing else is said. */
export function fileDriver(settings: PropertyOf<'file'>): Driver {
  const { path, on = '1', off = '0' } = settings
  const write = (value: Scalar): Promise<void> =>
    writeSmallFile(path, String(worded(value, { on, off })))
  return {
    read: settings.readable
      ? async () => readValue(await readSmallFile(path), { ...settings, on, off })
      : undefined,
    write: settings.writable ? write : undefined,
  }
}

async function numberIn(path: string): Promise<number> {
  return Number(readValue(await readSmallFile(path), { value: 'number' }))
}

function rounded(part: number): number {
  return Math.round(part * 10_000) / 10_000
}
