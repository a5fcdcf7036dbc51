import type { SettingsOf } from '../../config-sensors.ts'
import type { Clock } from '../../env.ts'
import { asError } from '../../errors.ts'
import { linesOf, outputOf } from '../../machine/program.ts'
import { jsonAt, textAt, valueFrom } from '../../machine/values.ts'
import type { Reader } from './file.ts'
import type { SensorInfo, StreamSource } from './source.ts'

type Settings = SettingsOf<'command'>

const TIMEOUT_MS = 10_000

/** A program that prints one value and ends. */
export function commandSensor(
  settings: Settings,
  { clock }: { readonly clock: Clock },
): Partial<SensorInfo> & Reader {
  const { command: argv, format, pattern, pointer = '', timeout = TIMEOUT_MS } = settings
  return {
    description: describe(settings),
    async read(signal) {
      const text = await outputOf({ argv, clock }, timeout, signal)
      return valueFrom(format === 'json' ? jsonAt(text, pointer) : textAt(text, pattern), settings)
    },
  }
}

/** A program that runs on and prints a value as JSON on each line. */
export function commandStream(
  settings: Settings,
  { clock }: { readonly clock: Clock },
): Partial<SensorInfo> & Pick<StreamSource, 'run'> {
  const { command: argv, name, pointer = '', timeout: timeoutMs } = settings
  return {
    description: describe(settings),
    async run(sink, signal) {
      await linesOf({ argv, clock }, { timeoutMs, signal }, (line) => {
        if (line.trim() === '') return
        try {
          sink.sample({ sensor: name, value: valueFrom(jsonAt(line, pointer), settings) })
        } catch (error) {
          sink.problem(asError(error))
        }
      })
      throw new Error('the program ended')
    },
  }
}

/** Without its arguments, which may say more than everybody should see. */
function describe({ command: [program = ''] }: Settings): string {
  return `From ${program}`
}
