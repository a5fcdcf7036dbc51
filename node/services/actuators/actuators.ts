/**
 * What this device can be told to do: properties and actions of the settings, and those of plug-ins.
 * Each property does one thing at a time, everything ends at its deadline, and what does not work
 * says so and holds up nothing else. Who may call is not known here.
 */
import type { Logger } from 'pino'

import { compileInput, type Check, type Json } from '../../../protocols/calls/index.ts'
import type { ActionSettings } from '../../config-actions.ts'
import type { ThingSettings } from '../../config-things.ts'
import type { Clock } from '../../env.ts'
import { asError } from '../../errors.ts'
import { createEmitter, type Emitter } from '../../events.ts'
import type { Brokers } from '../../machine/brokers.ts'
import { actionModel, deedOf } from './actions.ts'
import { ActuatorError, type Deed, type Scalar } from './actuator.ts'
import { must, within } from './deadline.ts'
import type { PartModel } from './plugin-model.ts'
import { startPlugins, type Plugins } from './plugins.ts'
import { propertyFrom, type Property } from './properties.ts'
import { runDriver } from './running.ts'
import { scalarOf } from './values.ts'

export interface ActuatorsDeps {
  readonly settings: Pick<ThingSettings, 'properties' | 'actions' | 'plugins'>
  /** The folder of the settings file, where plug-ins are. */
  readonly folder: string
  /** Where /sys and /usr are found. */
  readonly root?: string
  readonly clock: Clock
  readonly brokers: Brokers
  readonly log: Logger
}

export interface ActuatorEvents extends Record<string, unknown> {
  /** A property has this value now. */
  property: { readonly name: string; readonly value: Json }
  /** A plug-in says that something happened. */
  event: { readonly name: string; readonly value: Json }
  /** `model` gives another. */
  model: void
  /** `problems` gives another, or none, for this name. */
  problem: { readonly name: string; readonly why: string | undefined }
}

export interface Actuators extends AsyncDisposable {
  readonly events: Emitter<ActuatorEvents>
  /** Resolves once every plug-in runs, or is known not to. */
  readonly started: Promise<void>
  model(): PartModel
  /** @throws ActuatorError; the reason of `signal` */
  read(name: string, signal: AbortSignal): Promise<Json>
  /** @throws ActuatorError; the reason of `signal` */
  write(name: string, value: Json, signal: AbortSignal): Promise<void>
  /** @throws ActuatorError; the reason of `signal` */
  invoke(name: string, args: Json | undefined, signal: AbortSignal): Promise<Json | undefined>
  /** What does not work, by its name in the settings, for people. */
  problems(): ReadonlyMap<string, string>
}

/** For reading and setting where the settings say nothing; actions have their own. */
const DEADLINE_MS = 10_000

interface Action {
  readonly settings: ActionSettings
  readonly check: Check
  readonly deed: Deed
}

/** Waits for nothing: what is to be set at the start, brokers and plug-ins come meanwhile. */
export function startActuators(deps: ActuatorsDeps, signal: AbortSignal): Actuators {
  return new Service(deps, signal)
}

class Service implements Actuators {
  readonly events: Emitter<ActuatorEvents>
  readonly #deps: ActuatorsDeps
  readonly #stop = new AbortController()
  readonly #properties: ReadonlyMap<string, Property>
  readonly #actions: ReadonlyMap<string, Action>
  readonly #plugins: Plugins
  readonly #running: Promise<void>[] = []
  #model: PartModel

  constructor(deps: ActuatorsDeps, signal: AbortSignal) {
    const { root = '/', clock, brokers, log, settings } = deps
    this.#deps = deps
    this.events = createEmitter((err) => log.error({ err }, 'listener failed'))
    this.#properties = new Map(
      settings.properties.map((one) => [one.name, propertyFrom(one, { root, clock, brokers })]),
    )
    this.#actions = new Map(
      settings.actions.map((one) => [
        one.name,
        { settings: one, check: compileInput(actionModel(one).input), deed: this.#deed(one) },
      ]),
    )
    this.#plugins = startPlugins(
      {
        clock,
        log,
        settings: settings.plugins,
        folder: deps.folder,
        own: this.#describeOwn(),
        onModel: () => this.#remodel(),
        onProblem: (name, why) => this.events.emit('problem', { name: `plugin.${name}`, why }),
        onValue: (kind, name, value) => this.events.emit(kind, { name, value }),
      },
      AbortSignal.any([signal, this.#stop.signal]),
    )
    this.#model = this.#describe()
    this.#start(AbortSignal.any([signal, this.#stop.signal]))
  }

  get started(): Promise<void> {
    return this.#plugins.started
  }

  #start(until: AbortSignal): void {
    for (const [name, property] of this.#properties) {
      if (property.driver.run !== undefined) this.#running.push(this.#follow(name, property, until))
      const { initial } = property.settings
      if (initial !== undefined) this.#running.push(this.#begin(name, initial, until))
    }
  }

  model(): PartModel {
    return this.#model
  }

  async read(name: string, signal: AbortSignal): Promise<Json> {
    const property = this.#properties.get(name)
    if (property === undefined) {
      const value = await this.#plugins.ask('read', { name, value: undefined }, signal)
      if (value !== undefined) return value
      throw new ActuatorError('ACTUATOR_FAILED', 'the plug-in gave no value')
    }
    return property.queue(() => this.#attempt(property, signal, (until) => readOf(property, until)))
  }

  async write(name: string, value: Json, signal: AbortSignal): Promise<void> {
    const property = this.#properties.get(name)
    if (property === undefined) {
      await this.#plugins.ask('write', { name, value }, signal)
      return
    }
    must(property.check(value))
    await property.queue(() => this.#set(name, property, scalarOf(value), signal))
  }

  async invoke(
    name: string,
    args: Json | undefined,
    signal: AbortSignal,
  ): Promise<Json | undefined> {
    const action = this.#actions.get(name)
    if (action === undefined) return this.#plugins.ask('invoke', { name, value: args }, signal)
    must(action.check(args))
    const { deadline } = action.settings
    return within({ ...this.#deps, ms: deadline }, signal, (until) => action.deed(args, until))
  }

  problems(): ReadonlyMap<string, string> {
    const broken = Array.from(this.#properties).flatMap(([name, { problem }]) =>
      problem === undefined ? [] : [[`property.${name}`, problem] as const],
    )
    const missing = this.#plugins
      .problems()
      .map(([name, problem]) => [`plugin.${name}`, problem] as const)
    return new Map([...broken, ...missing])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('stopping'))
    await Promise.allSettled([
      ...this.#running,
      this.#plugins[Symbol.asyncDispose](),
      ...Array.from(this.#properties.values(), async ({ driver, queue }) =>
        queue(async () => driver.close?.()),
      ),
    ])
  }

  #deed(settings: ActionSettings): Deed {
    if (settings.type === 'set') {
      return async (_args, signal) => {
        await this.write(settings.property, settings.value, signal)
        return undefined
      }
    }
    if (settings.type === 'toggle')
      return (_args, signal) => this.#toggle(settings.property, signal)
    return deedOf(settings, this.#deps)
  }

  async #toggle(name: string, signal: AbortSignal): Promise<boolean> {
    const property = this.#properties.get(name)
    if (property === undefined) {
      const next = (await this.read(name, signal)) !== true
      await this.write(name, next, signal)
      return next
    }
    return property.queue(async () => {
      const now =
        property.driver.read === undefined
          ? property.last
          : await this.#attempt(property, signal, (until) => readOf(property, until))
      if (typeof now !== 'boolean') {
        throw new ActuatorError('ACTUATOR_FAILED', 'whether it is on is not known')
      }
      await this.#set(name, property, !now, signal)
      return !now
    })
  }

  async #set(name: string, property: Property, value: Scalar, signal: AbortSignal): Promise<void> {
    const { write } = property.driver
    if (write === undefined) throw new ActuatorError('ACTUATOR_UNKNOWN', 'it cannot be set')
    await this.#attempt(property, signal, (until) => write(value, until))
    // What says of itself what it is does so in its own time.
    if (property.driver.run === undefined || property.driver.read === undefined) {
      this.#tell(name, property, value)
    }
  }

  #tell(name: string, property: Property, value: Scalar): void {
    if (property.last === value) return
    property.last = value
    this.events.emit('property', { name, value })
  }

  #note(property: Property, why: string | undefined): void {
    if (property.problem === why) return
    property.problem = why
    this.events.emit('problem', { name: `property.${property.settings.name}`, why })
  }

  async #attempt<T>(
    property: Property,
    signal: AbortSignal,
    run: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { settings } = property
    const ms = 'timeout' in settings ? settings.timeout : DEADLINE_MS
    try {
      const result = await within({ ...this.#deps, ms }, signal, run)
      this.#note(property, undefined)
      return result
    } catch (error) {
      this.#note(property, asError(error).message)
      throw error
    }
  }

  async #begin(name: string, value: Scalar, signal: AbortSignal): Promise<void> {
    try {
      await this.write(name, value, signal)
    } catch (err) {
      if (!signal.aborted) this.#deps.log.warn({ err, name }, 'property cannot be set at the start')
    }
  }

  #follow(name: string, property: Property, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#deps
    return runDriver(
      property.driver,
      {
        clock,
        onValue: (value) => {
          this.#note(property, undefined)
          this.#tell(name, property, value)
        },
        onReady: () => this.#note(property, undefined),
        onProblem: (err) => {
          if (property.problem === undefined) log.warn({ err, name }, 'property does not work')
          this.#note(property, err.message)
        },
      },
      signal,
    )
  }

  #remodel(): void {
    this.#model = this.#describe()
    this.events.emit('model', undefined)
  }

  #describe(): PartModel {
    const all = [this.#describeOwn(), ...this.#plugins.models()]
    const join = <K extends keyof PartModel>(kind: K): PartModel[K] =>
      Object.assign({}, ...all.map((one) => one[kind])) as PartModel[K]
    return { properties: join('properties'), actions: join('actions'), events: join('events') }
  }

  #describeOwn(): PartModel {
    const properties = Array.from(this.#properties, ([name, { model }]) => [name, model] as const)
    const actions = Array.from(this.#actions, ([name, { settings }]) => [
      name,
      actionModel(settings),
    ])
    return {
      properties: Object.fromEntries(properties),
      actions: Object.fromEntries(actions) as PartModel['actions'],
      events: {},
    }
  }
}

async function readOf({ driver }: Property, signal: AbortSignal): Promise<Scalar> {
  if (driver.read === undefined) throw new ActuatorError('ACTUATOR_UNKNOWN', 'it cannot be read')
  return driver.read(signal)
}
