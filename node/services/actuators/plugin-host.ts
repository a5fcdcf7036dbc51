/**
 * One plug-in and its thread. A plug-in that throws has failed at that one thing; one that hangs in
 * a loop, or ends its thread, is ended and started again, later each time. Kith goes on either way.
 */
import { Worker } from 'node:worker_threads'

import type { Logger } from 'pino'

import { formatJson, parseJson, RESULT, type Json } from '../../../protocols/calls/index.ts'
import type { PluginSettings } from '../../config-things.ts'
import type { Clock } from '../../env.ts'
import { asError } from '../../errors.ts'
import { ActuatorError } from './actuator.ts'
import { pluginFile } from './plugin-file.ts'
import type { FromPlugin, PluginVerb, ToPlugin } from './plugin-messages.ts'
import { pluginModel, type PartModel } from './plugin-model.ts'

export interface PluginHost extends AsyncDisposable {
  /** What it had when it last said so; nothing before it did. */
  model(): PartModel
  /** Why it does not run, for people. */
  problem(): string | undefined
  /** @throws ActuatorError; the reason of `signal` */
  ask(
    verb: PluginVerb,
    name: string,
    value: Json | undefined,
    signal: AbortSignal,
  ): Promise<Json | undefined>
  /** Resolves when it runs, or is known not to. */
  readonly started: Promise<void>
}

export interface PluginDeps {
  readonly settings: PluginSettings
  /** The folder of the settings file. */
  readonly folder: string
  readonly clock: Clock
  readonly log: Logger
  readonly onModel: () => void
  readonly onProblem: (why: string | undefined) => void
  /** @throws Error where the model takes names of others */
  readonly accept: (model: PartModel) => void
  readonly onValue: (kind: 'property' | 'event', name: string, value: Json) => void
}

const EMPTY: PartModel = { properties: {}, actions: {}, events: {} }
const START_MS = 10_000
/** A thread that does not answer a ping for this long hangs. */
const PONG_MS = 1000
const CLOSE_MS = 1000
const FIRST_WAIT_MS = 1000
const LONGEST_WAIT_MS = 60_000
const STEADY_MS = 60_000
const MAX_HEAP_MIB = 64
/** Told values and lines that one plug-in may have in a second. */
const MAX_SAID = 200

interface Thread {
  readonly worker: Worker
  readonly asked: Map<number, PromiseWithResolvers<Json | undefined>>
  /** Rejects when it is gone. */
  readonly gone: PromiseWithResolvers<never>
}

export function startPlugin(deps: PluginDeps, signal: AbortSignal): PluginHost {
  return new Host(deps, signal)
}

class Host implements PluginHost {
  readonly started: Promise<void>
  readonly #deps: PluginDeps
  readonly #stop = new AbortController()
  readonly #first = Promise.withResolvers<void>()
  readonly #done: Promise<void>
  #model = EMPTY
  #thread: Thread | undefined
  #problem: string | undefined = 'it is starting'
  #next = 1
  #said = { sinceMs: 0, count: 0 }

  constructor(deps: PluginDeps, signal: AbortSignal) {
    this.#deps = deps
    this.started = this.#first.promise
    this.#done = this.#live(AbortSignal.any([signal, this.#stop.signal]))
  }

  model(): PartModel {
    return this.#model
  }

  problem(): string | undefined {
    return this.#problem
  }

  async ask(
    verb: PluginVerb,
    name: string,
    value: Json | undefined,
    signal: AbortSignal,
  ): Promise<Json | undefined> {
    const thread = this.#thread
    if (thread === undefined) throw new ActuatorError('ACTUATOR_FAILED', 'the plug-in does not run')
    signal.throwIfAborted()
    const given = value === undefined ? {} : { value: formatJson(value, RESULT) }
    const n = this.#next++
    const answer = Promise.withResolvers<Json | undefined>()
    thread.asked.set(n, answer)
    send(thread, { n, verb, name, ...given })
    const abort = (): void => {
      answer.reject(asError(signal.reason))
      send(thread, { n, abort: true })
      this.#look(thread)
    }
    signal.addEventListener('abort', abort, { once: true })
    try {
      return await answer.promise
    } finally {
      signal.removeEventListener('abort', abort)
      thread.asked.delete(n)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('stopping'))
    await this.#done
  }

  async #live(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#deps
    let waitMs = FIRST_WAIT_MS
    while (!signal.aborted) {
      const startedMs = clock.monotonic()
      try {
        await this.#run(signal)
      } catch (error) {
        if (signal.aborted) break
        this.#note(asError(error).message)
        log.warn({ err: error }, 'plug-in does not run')
      }
      this.#first.resolve()
      if (clock.monotonic() - startedMs > STEADY_MS) waitMs = FIRST_WAIT_MS
      await clock.sleep(waitMs, signal).catch(() => undefined)
      waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS)
    }
    this.#first.resolve()
  }

  #note(why: string | undefined): void {
    this.#problem = why
    this.#deps.onProblem(why)
  }

  /** Until its thread is gone. */
  async #run(signal: AbortSignal): Promise<void> {
    const { settings, folder, clock } = this.#deps
    const { module, name, settings: own } = settings
    const file = await pluginFile(folder, module)
    signal.throwIfAborted()
    const worker = new Worker(workerUrl(), {
      workerData: { file, name, settings: own },
      env: {},
      argv: [],
      stdin: false,
      stdout: true,
      stderr: true,
      resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MIB },
    })
    const thread: Thread = { worker, asked: new Map(), gone: Promise.withResolvers() }
    thread.gone.promise.catch(() => undefined)
    const cancel = clock.timer(START_MS, () => this.#end(thread, 'it does not start within 10 s'))
    const stop = (): void => void this.#close(thread)
    signal.addEventListener('abort', stop, { once: true })
    try {
      this.#listen(thread, cancel)
      await thread.gone.promise
    } finally {
      cancel()
      signal.removeEventListener('abort', stop)
      await worker.terminate()
    }
  }

  #listen(thread: Thread, onReady: () => void): void {
    const { worker } = thread
    worker.stdout.resume()
    worker.stderr.resume()
    worker.on('error', (error) => {
      this.#deps.log.warn({ err: error }, 'plug-in threw')
      this.#end(thread, 'it ended with an error, which is in the log')
    })
    worker.on('exit', () => this.#end(thread, 'it ended'))
    worker.on('message', (message: FromPlugin) => {
      if (!('ready' in message)) return this.#hear(thread, message)
      onReady()
      this.#begin(thread, message.ready)
    })
  }

  #begin(thread: Thread, text: string): void {
    try {
      const model = pluginModel(text)
      this.#deps.accept(model)
      this.#model = model
    } catch (error) {
      this.#end(thread, asError(error).message)
      return
    }
    this.#thread = thread
    this.#note(undefined)
    this.#first.resolve()
    this.#deps.onModel()
  }

  #hear(thread: Thread, message: Exclude<FromPlugin, { readonly ready: string }>): void {
    if ('n' in message) {
      const answer = thread.asked.get(message.n)
      if ('failed' in message) {
        this.#deps.log.warn({ why: message.failed }, 'plug-in failed')
        answer?.reject(
          new ActuatorError('ACTUATOR_FAILED', 'the plug-in says that it did not work'),
        )
      } else this.#answer(message.value, answer)
    } else if (!('pong' in message) && this.#maySay()) {
      if ('log' in message) this.#deps.log.info({ text: message.log }, 'plug-in')
      else this.#tell(message)
    }
  }

  #answer(
    text: string | undefined,
    answer: PromiseWithResolvers<Json | undefined> | undefined,
  ): void {
    try {
      answer?.resolve(text === undefined ? undefined : parseJson(text, RESULT))
    } catch (cause) {
      const why = 'the plug-in answers what is no value'
      answer?.reject(new ActuatorError('ACTUATOR_FAILED', why, { cause }))
    }
  }

  #tell(
    message: Extract<FromPlugin, { readonly changed: string } | { readonly happened: string }>,
  ): void {
    const { value: text = 'null' } = message
    const [kind, name] =
      'changed' in message
        ? (['property', message.changed] as const)
        : (['event', message.happened] as const)
    const known = kind === 'property' ? this.#model.properties : this.#model.events
    if (typeof name !== 'string' || !Object.hasOwn(known, name)) return
    try {
      this.#deps.onValue(kind, name, parseJson(text, RESULT))
    } catch (error) {
      this.#deps.log.warn({ err: error, name }, 'plug-in told what is no value')
    }
  }

  #maySay(): boolean {
    const nowMs = this.#deps.clock.monotonic()
    if (nowMs - this.#said.sinceMs >= 1000) this.#said = { sinceMs: nowMs, count: 0 }
    return ++this.#said.count <= MAX_SAID
  }

  /** Ends the thread where it does not answer at all. */
  #look(thread: Thread): void {
    const heard = (message: FromPlugin): void => {
      if ('pong' in message) done()
    }
    const cancel = this.#deps.clock.timer(PONG_MS, () => {
      done()
      this.#end(thread, 'it hung and was ended')
    })
    const done = (): void => {
      cancel()
      thread.worker.off('message', heard)
    }
    thread.worker.on('message', heard)
    send(thread, { ping: 1 })
  }

  #end(thread: Thread, why: string): void {
    const error = new ActuatorError('ACTUATOR_FAILED', `the plug-in does not run: ${why}`)
    if (this.#thread === thread) {
      this.#thread = undefined
      this.#note(error.message)
    }
    thread.gone.reject(error)
    for (const { reject } of thread.asked.values()) reject(error)
  }

  /** Let it put things in order, for a second at most. */
  async #close(thread: Thread): Promise<void> {
    const late = new AbortController()
    const cancel = this.#deps.clock.timer(CLOSE_MS, () => late.abort(new Error('too late')))
    try {
      if (this.#thread === thread) await this.ask('close', '', undefined, late.signal)
    } catch {
      // It is ended anyway.
    } finally {
      cancel()
      this.#end(thread, 'Kith stops')
    }
  }
}

function send({ worker }: Thread, message: ToPlugin): void {
  worker.postMessage(message)
}

/** The same file, as source or built. */
function workerUrl(): URL {
  const built = import.meta.url.endsWith('.js')
  return built
    ? new URL('./plugin-worker.js', import.meta.url)
    : new URL('./plugin-worker.ts', import.meta.url)
}
