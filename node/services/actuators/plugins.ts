/** All plug-ins of a device, none of which takes a name of another. */
import type { Logger } from 'pino'

import { compileInput, type Json } from '../../../protocols/calls/index.ts'
import type { PluginSettings } from '../../config-things.ts'
import type { Clock } from '../../env.ts'
import { ActuatorError } from './actuator.ts'
import { must, within } from './deadline.ts'
import { startPlugin, type PluginHost } from './plugin-host.ts'
import type { PartModel } from './plugin-model.ts'

export interface Plugins extends AsyncDisposable {
  /** Resolves once each runs, or is known not to. */
  readonly started: Promise<void>
  models(): readonly PartModel[]
  /** @throws ActuatorError; the reason of `signal` */
  ask(
    verb: 'read' | 'write' | 'invoke',
    asked: Asked,
    signal: AbortSignal,
  ): Promise<Json | undefined>
  /** By name, why those that do not run do not. */
  problems(): readonly (readonly [string, string])[]
}

export interface Asked {
  readonly name: string
  readonly value: Json | undefined
}

export interface PluginsDeps {
  readonly settings: readonly PluginSettings[]
  /** The folder of the settings file. */
  readonly folder: string
  /** What has its names already. */
  readonly own: PartModel
  readonly clock: Clock
  readonly log: Logger
  readonly onModel: () => void
  readonly onProblem: (plugin: string, why: string | undefined) => void
  readonly onValue: (kind: 'property' | 'event', name: string, value: Json) => void
}

const DEADLINE_MS = 10_000

export function startPlugins(deps: PluginsDeps, signal: AbortSignal): Plugins {
  const { settings, folder, own, clock, log, onModel, onValue, onProblem } = deps
  const hosts = new Map<string, PluginHost>()

  function accept(plugin: string, model: PartModel): void {
    const others = Array.from(hosts).filter(([name]) => name !== plugin)
    const taken = [own, ...others.map(([, host]) => host.model())]
    for (const kind of ['properties', 'actions', 'events'] as const) {
      const name = Object.keys(model[kind]).find((one) =>
        taken.some((other) => Object.hasOwn(other[kind], one)),
      )
      if (name !== undefined)
        throw new Error(`it has ${name}, which is the name of another already`)
    }
  }

  for (const one of settings) {
    const { name } = one
    const about = { settings: one, folder, clock, log: log.child({ plugin: name }) }
    const heard = {
      onModel,
      onValue,
      onProblem: (why: string | undefined) => onProblem(name, why),
      accept: (model: PartModel) => accept(name, model),
    }
    hosts.set(name, startPlugin({ ...about, ...heard }, signal))
  }
  const all = Array.from(hosts.values())

  return {
    started: Promise.all(all.map(({ started }) => started)).then(() => undefined),
    models: () => all.map((host) => host.model()),
    async ask(verb, { name, value }, askSignal) {
      const kind = verb === 'invoke' ? 'actions' : 'properties'
      const host = all.find((one) => Object.hasOwn(one.model()[kind], name))
      if (host === undefined) throw new ActuatorError('ACTUATOR_UNKNOWN')
      const ms = checked(host.model(), verb, { name, value })
      return within({ clock, ms }, askSignal, (until) => host.ask(verb, name, value, until))
    },
    problems: () =>
      Array.from(hosts).flatMap(([name, host]) => {
        const problem = host.problem()
        return problem === undefined ? [] : [[name, problem] as const]
      }),
    async [Symbol.asyncDispose]() {
      await Promise.all(all.map((host) => host[Symbol.asyncDispose]()))
    },
  }
}

/** How long it may take. @throws ActuatorError */
function checked(
  { properties, actions }: PartModel,
  verb: 'read' | 'write' | 'invoke',
  { name, value }: Asked,
): number {
  if (verb === 'invoke') {
    const action = actions[name]
    must(compileInput(action?.input)(value))
    return action?.deadlineMs ?? DEADLINE_MS
  }
  const property = properties[name]
  const can = verb === 'read' ? property?.readable : property?.writable
  if (can !== true) {
    throw new ActuatorError('ACTUATOR_UNKNOWN', `it cannot be ${verb === 'read' ? 'read' : 'set'}`)
  }
  if (verb === 'write') must(compileInput(property?.schema)(value))
  return DEADLINE_MS
}
