/** Devices of one home that call each other over a network in memory, each with a store on disk. */
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'

import pino from 'pino'

import {
  startCalls,
  ThingError,
  type Calls,
  type CallsDeps,
  type Thing,
} from '../../node/services/calls/index.ts'
import { migration, openCallStore } from '../../node/storage/calls.ts'
import { openDatabase } from '../../node/storage/db.ts'
import {
  CALLS,
  descriptionText,
  onlyAllowed,
  openCaller,
  openReceipt,
  sealCall,
  type Call,
  type CallContent,
  type Json,
  type Receipt,
  type ThingModel,
} from '../../protocols/calls/index.ts'
import { sha256, type LateVerifier } from '../../protocols/identity/index.ts'
import { equalBytes, toHex, utf8 } from '../../protocols/wire/index.ts'
import type { VirtualClock } from './clock.ts'
import { MemoryNetwork } from './memory-mesh.ts'
import { seededRandom } from './random.ts'
import { CONTEXT, deviceOf, HOME, START_MS } from './telemetry.ts'
import { timeOf } from './time.ts'

export const LAMP: ThingModel = {
  title: 'Lamp',
  properties: {
    on: { schema: { type: 'boolean' }, readable: true, writable: true, observable: true },
    level: {
      schema: { type: 'integer', minimum: 0, maximum: 100 },
      readable: true,
      writable: true,
      observable: true,
      coalesce: true,
    },
    secret: { schema: { type: 'string' }, readable: false, writable: true, observable: false },
    power: { schema: { type: 'number' }, readable: true, writable: false, observable: true },
  },
  actions: {
    toggle: { changes: ['on'] },
    blink: {
      input: {
        type: 'object',
        properties: { times: { type: 'integer', minimum: 1, maximum: 9 } },
        required: ['times'],
      },
    },
    hang: { deadlineMs: 500 },
    fail: {},
  },
  events: { pressed: {} },
}

/** A virtual clock does not wait for threads, so nothing is left to them. */
export const AT_ONCE: LateVerifier = {
  verify: (...signed) => CONTEXT.verifier.verify(...signed),
  verifyLater: (...signed) => Promise.resolve(CONTEXT.verifier.verify(...signed)),
}

export interface Lamp extends Thing {
  /** What was done, in order, as text. */
  readonly done: string[]
  values: Record<string, Json>
  change(name: string, value: Json, kind: 'property' | 'event'): void
  /** Set, an action waits for it. */
  gate: Promise<void> | undefined
}

export function lamp(): Lamp {
  const listeners = new Set<(name: string, value: Json, kind: 'property' | 'event') => void>()
  const thing: Lamp = {
    done: [],
    values: { on: false, level: 0, power: 1.5 },
    gate: undefined,
    model: () => LAMP,
    change(name, value, kind) {
      if (kind === 'property') thing.values[name] = value
      for (const listener of listeners) listener(name, value, kind)
    },
    onChange(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    onModel: () => () => undefined,
    async read(name) {
      return thing.values[name] ?? null
    },
    async write(name, value) {
      thing.done.push(`write ${name} ${JSON.stringify(value)}`)
      await thing.gate
      thing.change(name, value, 'property')
    },
    async invoke(name, args) {
      thing.done.push(`invoke ${name} ${JSON.stringify(args ?? null)}`)
      await thing.gate
      if (name === 'hang') await new Promise(() => undefined)
      if (name === 'fail') throw new ThingError('THING_FAILED', 'words of a plug-in')
      if (name === 'toggle') thing.change('on', thing.values['on'] !== true, 'property')
      return name === 'toggle' ? (thing.values['on'] ?? null) : undefined
    },
  }
  return thing
}

export interface CallableOptions extends Partial<CallsDeps> {
  /** Folder of its database; in memory where absent. */
  readonly dir?: string
}

export interface Callable extends AsyncDisposable {
  readonly calls: Calls
  readonly key: Uint8Array
  readonly db: DatabaseSync
  /** Hand over a call by its bytes, and take what comes back. */
  ask(to: string, bytes: Uint8Array): Promise<Receipt>
  /** As a kill: nothing more is written, and whoever waits waits for ever. */
  kill(): void
}

export interface CallableHome extends AsyncDisposable {
  readonly network: MemoryNetwork
  /** Devices that were removed. */
  readonly removed: Set<string>
  readonly key: (name: string) => Uint8Array
  start(name: string, options?: CallableOptions): Promise<Callable>
  connect(a: string, b: string): void
}

export function callableHome(clock: VirtualClock): CallableHome {
  const network = new MemoryNetwork(clock)
  const removed = new Set<string>()
  const running = new Set<Callable>()
  const key = (name: string): Uint8Array => deviceOf(name).key

  async function start(name: string, options: CallableOptions = {}): Promise<Callable> {
    const { dir, thing = lamp(), ...changes } = options
    const signer = deviceOf(name)
    const path = dir === undefined ? ':memory:' : join(dir, `${name}.db`)
    const db = openDatabase(path, [migration])
    const deps: CallsDeps = {
      mesh: network.join(signer.key),
      store: openCallStore(db),
      signer,
      verifier: AT_ONCE,
      home: HOME,
      thing,
      rights: {
        isActive: (device) => !removed.has(toHex(device)),
        judge: () => ({ allow: true }),
        allows: () => () => true,
      },
      describe: (peer) =>
        descriptionText(
          onlyAllowed(
            thing.model(),
            (right) => right !== 'write' || !equalBytes(peer, key('guest')),
          ),
          { key: signer.key },
        ),
      epoch: () => 0,
      mailbox: () => undefined,
      time: timeOf(clock),
      clock,
      random: seededRandom(`${name}/${clock.monotonic()}`),
      log: pino({ level: 'silent' }),
      ...changes,
    }
    const calls = await startCalls(deps, new AbortController().signal)
    const ask = async (to: string, bytes: Uint8Array): Promise<Receipt> => {
      await using stream = await deps.mesh.open(key(to), CALLS, new AbortController().signal)
      const asker = openCaller(stream.channel, { abort: (error) => stream.abort(error) })
      return openReceipt(await asker.call(bytes, stream.signal), CONTEXT)
    }
    const callable: Callable = {
      ask,
      calls,
      key: signer.key,
      db,
      kill() {
        running.delete(callable)
        db.close()
      },
      async [Symbol.asyncDispose]() {
        if (!running.delete(callable)) return
        await calls[Symbol.asyncDispose]()
        db.close()
      },
    }
    running.add(callable)
    return callable
  }

  return {
    network,
    removed,
    key,
    start,
    connect: (a, b) => network.connect(key(a), key(b)),
    async [Symbol.asyncDispose]() {
      for (const one of running) await one[Symbol.asyncDispose]()
    },
  }
}

let nonces = 0

/** A call as its caller could have signed it. */
export function callBy(caller: string, to: string, changes: Partial<CallContent> = {}): Call {
  return sealCall(
    {
      to: deviceOf(to).key,
      verb: 'invoke',
      name: 'toggle',
      epoch: 0,
      nonce: sha256(utf8(`nonce ${nonces++}`)).slice(0, 16),
      issuedMs: START_MS,
      ttlMs: 30_000,
      ...changes,
    },
    HOME,
    deviceOf(caller),
  )
}
