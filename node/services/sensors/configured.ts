/** Sources from the tables `[sensor.NAME]` of the settings. One table is one source with one sensor. */
import { isQuick, type SensorSettings } from '../../config-sensors.ts'
import type { Clock } from '../../env.ts'
import type { Brokers } from '../../machine/brokers.ts'
import { createQueue, type Queue } from '../../machine/queue.ts'
import { commandSensor, commandStream } from './command.ts'
import { fileSensor, gpioSensor, type Reader } from './file.ts'
import { httpSensor } from './http.ts'
import { iioSensor } from './iio.ts'
import { mqttSensor } from './mqtt.ts'
import { pushSource } from './push.ts'
import type { PushSource, SensorInfo, SensorSource, Sink, StreamSource } from './source.ts'
import { w1Sensor } from './w1.ts'

export interface ConfiguredDeps {
  /** Where /sys is found. */
  readonly root?: string
  readonly clock: Clock
  readonly brokers: Brokers
}

interface Shared {
  readonly root: string
  readonly clock: Clock
  readonly queue: Queue
  readonly brokers: Brokers
}

type Part = Partial<SensorInfo> &
  (Reader | Pick<StreamSource, 'run'> | Pick<PushSource, 'run' | 'push'>)

/** Opens nothing: a source does so when it is read or run. */
export function configuredSources(
  sensors: readonly SensorSettings[],
  { root = '/', clock, brokers }: ConfiguredDeps,
): SensorSource[] {
  const shared = { root, clock, queue: createQueue(), brokers }
  return sensors.map((settings) => sourceFrom(settings, partFor(settings, shared)))
}

function partFor(settings: SensorSettings, shared: Shared): Part {
  switch (settings.type) {
    case 'file':
      return fileSensor(settings, shared)
    case 'w1':
      return w1Sensor(settings, shared)
    case 'iio':
      return iioSensor(settings, shared)
    case 'gpio':
      return gpioSensor(settings, shared)
    case 'command':
      return settings.format === 'ndjson'
        ? commandStream(settings, shared)
        : commandSensor(settings, shared)
    case 'http':
      return httpSensor(settings, shared)
    case 'mqtt':
      return mqttSensor(settings, shared)
    case 'push':
      return { description: 'From other programs', ...pushSource(settings) }
  }
}

function sourceFrom(settings: SensorSettings, part: Part): SensorSource {
  const { name } = settings
  const unit = settings.unit ?? part.unit ?? ''
  const info = { name, unit, description: settings.description ?? part.description ?? name }
  const labelled = { sensor: name, ...(unit === '' ? {} : { unit }) }
  const common = {
    id: name,
    asked: true,
    pace: {
      intervalMs: settings.interval,
      deadband: settings.deadband ?? (isQuick(settings) ? 0 : undefined),
      resolution: settings.resolution,
      heartbeatMs: settings.heartbeat,
    },
    describe: () => [info],
  }
  if ('read' in part) {
    return {
      ...common,
      read: async (signal = new AbortController().signal) => [
        { ...labelled, value: await part.read(signal) },
      ],
      ...(part.watch === undefined ? {} : { watch: part.watch }),
    }
  }
  const run = (sink: Sink, signal: AbortSignal): Promise<void> =>
    part.run({ ...sink, sample: ({ value }) => sink.sample({ ...labelled, value }) }, signal)
  return { ...common, run, ...('push' in part ? { push: part.push } : {}) }
}
