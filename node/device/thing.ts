/**
 * What this device is to those who call it: its actuators and plug-ins, every sensor that is on as a
 * property to read, and events that come from its own sensors.
 */
import { dirname } from 'node:path'

import type { Json, PropertyModel, ThingModel } from '../../protocols/calls/index.ts'
import type { EventSettings } from '../config-rules.ts'
import { watchCondition } from '../condition.ts'
import type { Clock } from '../env.ts'
import { createEmitter } from '../events.ts'
import type { Logger } from '../log.ts'
import type { Brokers } from '../machine/brokers.ts'
import {
  ActuatorError,
  startActuators,
  type Actuators,
  type PartModel,
} from '../services/actuators/index.ts'
import { ThingError, type Thing } from '../services/calls/index.ts'
import type { Telemetry } from '../services/telemetry/index.ts'
import type { DeviceBase } from './base.ts'

export interface ThingDeps {
  readonly title: () => string
  readonly actuators: Actuators
  readonly telemetry: Pick<Telemetry, 'events' | 'sensors'>
  readonly events: readonly EventSettings[]
  readonly clock: Clock
  readonly log: Logger
}

interface Changes extends Record<string, unknown> {
  change: { readonly name: string; readonly value: Json; readonly kind: 'property' | 'event' }
  model: void
}

/** A sensor that has come or gone is known after this at the latest. */
const RECENT_MS = 1000

const CODES = {
  ACTUATOR_FAILED: 'THING_FAILED',
  ACTUATOR_UNKNOWN: 'THING_UNKNOWN',
  ACTUATOR_INVALID: 'THING_INVALID',
} as const

/** What the settings say that this device can be told to do. */
export function actuatorsOf(
  { config, clock, log }: DeviceBase,
  brokers: Brokers,
  signal: AbortSignal,
): Actuators {
  return startActuators(
    {
      settings: config.things,
      folder: dirname(config.paths.configFile),
      clock,
      brokers,
      log: log.child({ part: 'actuators' }),
    },
    signal,
  )
}

/** Until `signal` aborts it watches its sensors. */
export function thingOf(deps: ThingDeps, signal: AbortSignal): Thing {
  const { actuators, telemetry } = deps
  const changes = createEmitter<Changes>((err) => deps.log.error({ err }, 'listener failed'))
  let model = modelFrom(deps)
  let text = JSON.stringify(model)
  let lookedMs = deps.clock.monotonic()

  function look(): ThingModel {
    lookedMs = deps.clock.monotonic()
    const now = modelFrom(deps)
    const nowText = JSON.stringify(now)
    if (nowText !== text) {
      model = now
      text = nowText
      changes.emit('model', undefined)
    }
    return model
  }

  /** Sensors come and go without a word to anybody: every call would be slow that looked. */
  function recent(): ThingModel {
    return deps.clock.monotonic() - lookedMs < RECENT_MS ? model : look()
  }

  const isSensor = (name: string): boolean => model.properties[name]?.sensor !== undefined
  watchEvents(deps, (name, value) => changes.emit('change', { name, value, kind: 'event' }), signal)
  telemetry.events.on(
    'measured',
    ({ sensor, value }) => {
      if (!Object.hasOwn(model.properties, sensor)) look()
      if (isSensor(sensor)) changes.emit('change', { name: sensor, value, kind: 'property' })
    },
    signal,
  )
  for (const kind of ['property', 'event'] as const) {
    actuators.events.on(kind, (told) => changes.emit('change', { ...told, kind }), signal)
  }
  actuators.events.on('model', () => void look(), signal)
  telemetry.events.on('chosen', () => void look(), signal)

  return {
    model: recent,
    onChange: (listener) =>
      changes.on('change', ({ name, value, kind }) => listener(name, value, kind)),
    onModel: (listener) => changes.on('model', listener),
    async read(name, until) {
      if (!isSensor(name)) return translated(() => actuators.read(name, until))
      const value = telemetry.sensors().find((sensor) => sensor.name === name)?.value
      if (value !== undefined) return value
      throw new ThingError('THING_FAILED', 'nothing was measured yet')
    },
    async write(name, value, until) {
      if (isSensor(name)) throw new ThingError('THING_UNKNOWN', 'a sensor cannot be set')
      await translated(() => actuators.write(name, value, until))
    },
    invoke: (name, args, until) => translated(() => actuators.invoke(name, args, until)),
  }
}

function watchEvents(
  { events, telemetry, clock }: ThingDeps,
  onEvent: (name: string, value: Json) => void,
  signal: AbortSignal,
): void {
  for (const { name, when } of events) {
    const watch = watchCondition(when, clock, (value) => onEvent(name, value))
    telemetry.events.on(
      'measured',
      ({ sensor, value }) => {
        if (sensor === when.sensor) watch.take(value)
      },
      signal,
    )
    signal.addEventListener('abort', () => watch[Symbol.dispose](), { once: true })
  }
}

function modelFrom({ title, actuators, telemetry, events }: ThingDeps): ThingModel {
  const moved = actuators.model()
  const sensors = telemetry.sensors().filter(({ on }) => on)
  return {
    title: title(),
    properties: { ...Object.fromEntries(sensors.map(sensorModel)), ...moved.properties },
    actions: moved.actions,
    events: { ...moved.events, ...Object.fromEntries(events.map(eventModel)) },
  }
}

function sensorModel({
  name,
  unit,
  description,
  value,
}: ReturnType<Telemetry['sensors']>[number]): [string, PropertyModel] {
  const type = typeof value === 'boolean' || typeof value === 'string' ? typeof value : 'number'
  const schema = {
    type: type as 'boolean' | 'string' | 'number',
    readOnly: true,
    ...(unit === '' ? {} : { unit }),
  }
  return [
    name,
    { schema, description, readable: true, writable: false, observable: true, sensor: name },
  ]
}

function eventModel({ name, description }: EventSettings): [string, PartModel['events'][string]] {
  return [name, { data: {}, ...(description === undefined ? {} : { description }) }]
}

async function translated<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act()
  } catch (error) {
    if (!(error instanceof ActuatorError)) throw error
    throw new ThingError(CODES[error.code], error.message, { cause: error })
  }
}
