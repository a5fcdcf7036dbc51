/**
 * What each sink may know of the home's devices: those of which something leaves to it or can be asked
 * for, with the sensors that were seen and what may be asked. The sensors are remembered on disk: a
 * gateway that has just started knows them before the next reading comes.
 */
import { readFile } from 'node:fs/promises'

import type { ActionModel, DataSchema, ThingModel } from '../protocols/calls/index.ts'
import {
  isTable,
  writeFileAtomic,
  type GatewayDeviceFacts,
  type GatewayReading,
  type Logger,
} from '../node/index.ts'
import type { Policy } from './policy.ts'
import type { SinkCommand, SinkDevice, SinkField } from './sinks/sink.ts'

/** More sensors than any device has: a device that makes up names ends here. */
const MAX_FIELDS = 512
const MAX_FILE_BYTES = 4 * 2 ** 20

export interface Directory {
  /** True where the sensor is new, or is now of another kind. */
  see(reading: Pick<GatewayReading, 'deviceId' | 'sensor' | 'unit' | 'value'>): boolean
  describe(deviceId: string, model: ThingModel): void
  /** A device sleeps, and said when it wakes: the longest sleep is its promise. */
  sleeps(deviceId: string, forMs: number): void
  forget(deviceId: string): void
  /** Versions by device; of those that are not named nothing is known. */
  updates(versions: ReadonlyMap<string, NonNullable<SinkDevice['update']>>): void
  /** What `sink` may know, by the rules in force. */
  for(sink: string, policy: Policy, devices: readonly GatewayDeviceFacts[]): readonly SinkDevice[]
  /** Where it has changed since the last time. */
  save(): Promise<void>
}

/** A file that cannot be read is begun anew: what is in it comes again. */
export async function openDirectory(path: string, log: Logger): Promise<Directory> {
  const fields = await load(path, log)
  const models = new Map<string, ThingModel>()
  const promises = new Map<string, number>()
  let dirty = false
  let versions: Parameters<Directory['updates']>[0] = new Map()
  return {
    see({ deviceId, sensor, unit, value }) {
      const known = fields.get(deviceId) ?? new Map<string, SinkField>()
      const before = known.get(sensor)
      const kind = typeof value as SinkField['kind']
      if (before?.kind === kind && before.unit === unit) return false
      if (before === undefined && known.size >= MAX_FIELDS) return false
      known.set(sensor, { sensor, kind, ...(unit === undefined ? {} : { unit }) })
      fields.set(deviceId, known)
      dirty = true
      return true
    },
    describe(deviceId, model) {
      models.set(deviceId, model)
    },
    sleeps(deviceId, forMs) {
      if (forMs > (promises.get(deviceId) ?? 0)) promises.set(deviceId, forMs)
    },
    forget(deviceId) {
      models.delete(deviceId)
      promises.delete(deviceId)
      dirty = fields.delete(deviceId) || dirty
    },
    updates(now) {
      versions = now
    },
    for: (sink, policy, devices) =>
      toldOf({ fields, models, promises, versions }, { sink, policy, devices }),
    async save() {
      if (!dirty) return
      dirty = false
      const rows = [...fields].map(([id, known]) => [id, [...known.values()]])
      await writeFileAtomic(
        path,
        new TextEncoder().encode(JSON.stringify(Object.fromEntries(rows))),
      )
    },
  }
}

interface Known {
  readonly fields: ReadonlyMap<string, ReadonlyMap<string, SinkField>>
  readonly models: ReadonlyMap<string, ThingModel>
  readonly promises: ReadonlyMap<string, number>
  readonly versions: ReadonlyMap<string, NonNullable<SinkDevice['update']>>
}

interface Asker {
  readonly sink: string
  readonly policy: Policy
  readonly devices: readonly GatewayDeviceFacts[]
}

function toldOf(known: Known, { sink, policy, devices }: Asker): readonly SinkDevice[] {
  return devices
    .filter(({ id }) => policy.knows(sink, id))
    .flatMap((facts) => {
      const { id: deviceId, name, self, version } = facts
      const fields = [...(known.fields.get(deviceId)?.values() ?? [])].filter(({ sensor }) =>
        policy.rulesFor({ deviceId, sensor }).some((rule) => rule.sink === sink),
      )
      const commands = commandsOf(known.models.get(deviceId)).filter(
        (one) => policy.mayAsk({ sink, deviceId, verb: one.verb, name: one.name }) !== undefined,
      )
      // The gateway itself is told of by the sink; without a sensor it is no device beside it.
      if (self && fields.length + commands.length === 0) return []
      return {
        id: deviceId,
        name,
        state: stateOf(facts),
        ...(version === undefined ? {} : { version }),
        ...promiseOf(known.promises.get(deviceId)),
        ...updateOf(known.versions.get(deviceId)),
        fields,
        commands,
      }
    })
}

async function load(path: string, log: Logger): Promise<Map<string, Map<string, SinkField>>> {
  try {
    const bytes = await readFile(path)
    if (bytes.length > MAX_FILE_BYTES) throw new Error('too large')
    const rows: unknown = JSON.parse(bytes.toString('utf8'))
    if (!isTable(rows)) throw new Error('not an object')
    return new Map(
      Object.entries(rows).map(([id, list]) => [
        id,
        new Map((list as SinkField[]).map((field) => [field.sensor, field])),
      ]),
    )
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
      log.warn({ path }, 'the list of sensors could not be read, and is begun anew')
    }
    return new Map()
  }
}

function promiseOf(promiseMs: number | undefined): Pick<SinkDevice, 'promiseMs'> {
  return promiseMs === undefined ? {} : { promiseMs }
}

function updateOf(update: SinkDevice['update']): Pick<SinkDevice, 'update'> {
  return update === undefined ? {} : { update }
}

/** What is not known yet is away. */
function stateOf({ state }: GatewayDeviceFacts): SinkDevice['state'] {
  return state === 'removed' || state === 'unknown' ? 'lost' : state
}

function commandsOf(model: ThingModel | undefined): SinkCommand[] {
  if (model === undefined) return []
  return [
    ...Object.entries(model.properties).flatMap(([name, { schema, writable }]) =>
      writable ? [{ verb: 'write' as const, name, ...inputOf(schema) }] : [],
    ),
    ...Object.entries(model.actions).map(([name, action]: [string, ActionModel]) => ({
      verb: 'invoke' as const,
      name,
      ...inputOf(action.input),
    })),
  ]
}

type Input = Omit<SinkCommand, 'verb' | 'name'>

function inputOf(schema: DataSchema | undefined): Input {
  if (schema === undefined) return { kind: 'none' }
  const { type, unit, minimum, maximum, enum: choices } = schema
  const texts = choices?.filter((one) => typeof one === 'string')
  return {
    kind: kindOf(type),
    ...(unit === undefined ? {} : { unit }),
    ...(minimum === undefined ? {} : { min: minimum }),
    ...(maximum === undefined ? {} : { max: maximum }),
    ...(texts === undefined || texts.length === 0 ? {} : { choices: texts }),
  }
}

function kindOf(type: DataSchema['type']): SinkCommand['kind'] {
  if (type === 'integer' || type === 'number') return 'number'
  if (type === 'boolean' || type === 'string') return type
  return type === 'null' ? 'none' : 'object'
}
