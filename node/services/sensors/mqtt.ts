import type { SettingsOf } from '../../config-sensors.ts'
import type { Clock } from '../../env.ts'
import { asError } from '../../errors.ts'
import type { Brokers, Message } from '../../machine/brokers.ts'
import { createBudget } from '../../machine/budget.ts'
import { jsonAt, valueFrom } from '../../machine/values.ts'
import type { SensorInfo, StreamSource } from './source.ts'

/** What one topic may bring. */
const FLOOD = { bytes: 4 * 2 ** 20, windowMs: 10_000 }

/**
 * One topic of a broker. A retained message says what was true at an unknown time before, so it is
 * no reading, unless the settings ask for it.
 */
export function mqttSensor(
  settings: SettingsOf<'mqtt'>,
  { clock, brokers }: { readonly clock: Clock; readonly brokers: Brokers },
): Partial<SensorInfo> & Pick<StreamSource, 'run'> {
  const { name, broker, topic, pointer } = settings
  return {
    description: `${topic} at ${new URL(broker).host}`.slice(0, 128),
    async run(sink, signal) {
      const budget = createBudget(FLOOD, clock)
      const onMessage = ({ payload, retained }: Message): void => {
        if (retained && !settings.retained) return
        try {
          if (!budget.take(payload.length)) throw new Error('more than 4 MiB came in 10 s')
          const text = payload.toString('utf8')
          const raw = pointer === undefined ? text : jsonAt(text, pointer)
          // A device reports what has changed: another message may have the value.
          if (raw === undefined) return
          sink.sample({ sensor: name, value: valueFrom(raw, settings) })
        } catch (error) {
          sink.problem(asError(error))
        }
      }
      await brokers.listen(settings, { topic, onMessage, onReady: () => sink.ready() }, signal)
    },
  }
}
