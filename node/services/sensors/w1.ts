import { join } from 'node:path'

import type { SettingsOf } from '../../config-sensors.ts'
import { readSmallFile } from '../../machine/bounded.ts'
import type { Queue } from '../../machine/queue.ts'
import { valueFrom } from '../../machine/values.ts'
import type { Reader } from './file.ts'
import type { SensorInfo } from './source.ts'

/**
 * A DS18B20 or its kin on a 1-wire bus (kernel: Documentation/w1/slaves/w1_therm.rst). A reading holds
 * the bus and a thread for 0.75 s, so all of a device wait for each other in `queue`.
 */
export function w1Sensor(
  settings: SettingsOf<'w1'>,
  { root, queue }: { readonly root: string; readonly queue: Queue },
): Partial<SensorInfo> & Reader {
  const path = join(root, 'sys/bus/w1/devices', settings.id, 'w1_slave')
  return {
    unit: 'Cel',
    description: `1-wire sensor ${settings.id}`,
    read: async () => valueFrom(celsiusIn(await queue(() => readSmallFile(path))), settings),
  }
}

/** Nine bytes of the sensor's memory and the verdict on their sum, then the temperature. */
const FORM =
  /^((?:[0-9a-f]{2} ){9}): crc=[0-9a-f]{2} (YES|NO)\n(?:[0-9a-f]{2} ){9}t=(-?\d{1,6})\s*$/

function celsiusIn(text: string): number {
  const [, memory = '', sum, millidegrees] = FORM.exec(text) ?? []
  if (millidegrees === undefined) throw new Error('the sensor’s answer has another form')
  if (sum !== 'YES') throw new Error('the sensor’s answer came damaged: check the wires')
  // A bus that is pulled down reads as zeros, whose checksum is right.
  if (/^(00 )+$/.test(memory)) throw new Error('the bus is pulled down: check the wires')
  // What the chip holds before its first measurement is 85 degrees.
  if (/^50 05 (?:.. ){4}0c /.test(memory)) throw new Error('the sensor has lost power meanwhile')
  return Number(millidegrees) / 1000
}
