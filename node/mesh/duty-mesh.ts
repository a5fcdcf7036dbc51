/**
 * A Mesh that is on only in windows. Outside of them there is no socket, no timer and no peer; what
 * is served, who is a member and who listens to events is kept, and put in force at the beginning of
 * each window. When windows open, and what is done in them, is the caller's.
 */
import { signerFromSeed } from '../../protocols/identity/index.ts'
import { toHex, type Protocol } from '../../protocols/wire/index.ts'
import { NodeError } from '../errors.ts'
import { createEmitter, type Emitter } from '../events.ts'
import { untilAborted } from './connections.ts'
import {
  startMesh,
  type Mesh,
  type MeshEvents,
  type MeshHandler,
  type MeshOptions,
  type MeshPeer,
  type MeshStream,
  type Traffic,
} from './mesh.ts'
import { openLimit, type Limit } from './window-limit.ts'

export interface WindowOptions {
  /** Dialled at once, at their last known addresses. */
  readonly dial: readonly Uint8Array[]
  /** Dialled where none of those has greeted us after a moment. */
  readonly otherwise: readonly Uint8Array[]
  /** Look for them by multicast as well: for a device whose parents have all moved. */
  readonly discover: boolean
  /** Longest time that the window is open, with the start and without the end of the network. */
  readonly limitMs: number
}

export interface WindowReport<T> {
  /** What `run` returned; undefined where the window was over before. */
  readonly value: T | undefined
  /** What `run` threw, if it did before the window was over. */
  readonly error: unknown
  /** Time was up before `run` was done. */
  readonly cut: boolean
  readonly traffic: Traffic
  /** Milliseconds: until the network was up, then until somebody greeted us, and at the end. */
  readonly startMs: number
  /** Undefined where nobody did. */
  readonly connectMs: number | undefined
  readonly closeMs: number
}

export interface DutyMesh extends Mesh {
  /** Whether a window is open. */
  readonly awake: boolean
  /**
   * Open the network, dial, run, close. Resolves when everything is closed, however `run` ended.
   *
   * @throws NodeError NODE_CONFLICT where a window is open; what the network's start throws
   */
  window<T>(
    options: WindowOptions,
    run: (signal: AbortSignal) => Promise<T>,
  ): Promise<WindowReport<T>>
  /**
   * A window stays open for `work`, this one or the next: up to its limit, or, with `beyond`, a
   * little longer, for what may not be torn.
   */
  keepOpen<T>(work: Promise<T>, options?: { readonly beyond?: boolean }): Promise<T>
}

export interface DutyMeshOptions extends Omit<MeshOptions, 'brief' | 'multicast'> {
  /** Whether multicast may be used at all. */
  readonly maySearch: boolean
  /** Another network, for tests. */
  readonly start?: typeof startMesh
}

/** Parents get this long to greet us before others are dialled. */
export const OTHERS_AFTER_MS = 400

export function createDutyMesh(options: DutyMeshOptions, signal: AbortSignal): DutyMesh {
  return new WindowedMesh(options, signal)
}

interface Held {
  readonly work: Promise<unknown>
  readonly beyond: boolean
}

class WindowedMesh implements DutyMesh {
  readonly key: Uint8Array
  readonly events: Emitter<MeshEvents>
  readonly #options: DutyMeshOptions
  readonly #stop = new AbortController()
  readonly #signal: AbortSignal
  readonly #served = new Map<Protocol, MeshHandler>()
  #members: readonly Uint8Array[] = []
  readonly #held = new Set<Held>()
  #refused = 0
  #mesh: Mesh | undefined
  #limit: Limit | undefined
  /** Settles, and never rejects, when the open window is closed. */
  #closed: Promise<unknown> | undefined

  constructor(options: DutyMeshOptions, signal: AbortSignal) {
    this.#options = options
    this.#signal = AbortSignal.any([signal, this.#stop.signal])
    this.key = signerFromSeed(options.seed).key
    this.events = createEmitter((err) => options.log.error({ err }, 'mesh listener failed'))
  }

  get awake(): boolean {
    return this.#closed !== undefined
  }

  get multicast(): boolean {
    return this.#mesh?.multicast ?? false
  }

  get refusedCount(): number {
    return this.#refused + (this.#mesh?.refusedCount ?? 0)
  }

  async window<T>(
    options: WindowOptions,
    run: (signal: AbortSignal) => Promise<T>,
  ): Promise<WindowReport<T>> {
    this.#signal.throwIfAborted()
    if (this.#closed !== undefined) throw new NodeError('NODE_CONFLICT', 'This device is awake.')
    const open = this.#window(options, run)
    this.#closed = open.catch(() => undefined)
    try {
      return await open
    } finally {
      this.#closed = undefined
    }
  }

  keepOpen<T>(work: Promise<T>, { beyond = false } = {}): Promise<T> {
    const held = { work, beyond }
    this.#held.add(held)
    this.#limit?.hold(work, beyond)
    const forget = (): void => void this.#held.delete(held)
    work.then(forget, forget)
    return work
  }

  async serve(protocol: Protocol, handle: MeshHandler): Promise<void> {
    this.#served.set(protocol, handle)
    await this.#mesh?.serve(protocol, handle)
  }

  async open(peer: Uint8Array, protocol: Protocol, signal: AbortSignal): Promise<MeshStream> {
    if (this.#mesh !== undefined) return this.#mesh.open(peer, protocol, signal)
    throw new NodeError('NODE_TIMEOUT', 'This device sleeps; it is awake for a moment at a time.')
  }

  peers(): readonly MeshPeer[] {
    return this.#mesh?.peers() ?? []
  }

  /** Nobody can dial this device. */
  addresses(): readonly string[] {
    return []
  }

  setMembers(keys: readonly Uint8Array[]): void {
    this.#members = keys
    this.#mesh?.setMembers(keys)
  }

  cut(key: Uint8Array): void {
    this.#mesh?.cut(key)
  }

  /** Nobody is dialled here without being wanted. */
  setSleepers(): void {}

  want(key: Uint8Array): void {
    this.#mesh?.want(key)
  }

  traffic(): Traffic {
    return this.#mesh?.traffic() ?? { bytesIn: 0, bytesOut: 0, connectedMs: 0 }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('stopping'))
    await this.#closed
  }

  async #window<T>(
    { dial, otherwise, discover, limitMs }: WindowOptions,
    run: (signal: AbortSignal) => Promise<T>,
  ): Promise<WindowReport<T>> {
    const { clock, maySearch, start = startMesh, ...options } = this.#options
    const multicast = discover && maySearch
    const beganMs = clock.monotonic()
    const limit = openLimit({ clock, limitMs }, this.#signal)
    this.#limit = limit
    for (const { work, beyond } of this.#held) limit.hold(work, beyond)
    const off = new AbortController()
    let mesh: Mesh | undefined
    let [startMs, connectMs] = [0, undefined as number | undefined]
    let [value, error] = [undefined as T | undefined, undefined as unknown]
    let endedMs = beganMs
    try {
      mesh = await start({ ...options, clock, multicast, brief: true }, limit.signal)
      startMs = clock.monotonic() - beganMs
      mesh.events.on('connect', () => (connectMs ??= clock.monotonic() - beganMs - startMs))
      await this.#putInForce(mesh, off.signal)
      this.#dial(mesh, { dial, otherwise }, off.signal)
      value = await untilAborted(run(limit.signal), limit.signal)
      await untilAborted(limit.idle(), limit.signal)
    } catch (thrown) {
      error = thrown
    } finally {
      limit.close()
      endedMs = clock.monotonic()
      await this.#close(mesh)
      off.abort()
    }
    const cut = limit.over
    // A window that could not even open is a defect of the network, not an empty window.
    if (mesh === undefined && !cut) throw error
    const traffic = mesh?.traffic() ?? { bytesIn: 0, bytesOut: 0, connectedMs: 0 }
    const closeMs = clock.monotonic() - endedMs
    return { value, error: cut ? undefined : error, cut, traffic, startMs, connectMs, closeMs }
  }

  async #putInForce(mesh: Mesh, until: AbortSignal): Promise<void> {
    for (const name of ['connect', 'disconnect', 'seen', 'refused'] as const) {
      mesh.events.on(name, (event) => this.events.emit(name, event), until)
    }
    for (const [protocol, handle] of this.#served) await mesh.serve(protocol, handle)
    this.#mesh = mesh
    mesh.setMembers(this.#members)
  }

  #dial(
    mesh: Mesh,
    { dial, otherwise }: Pick<WindowOptions, 'dial' | 'otherwise'>,
    until: AbortSignal,
  ): void {
    for (const key of dial) mesh.want(key)
    const asked = new Set(dial.map(toHex))
    const others = otherwise.filter((key) => !asked.has(toHex(key)))
    const wait = dial.length > 0 ? OTHERS_AFTER_MS : 0
    const cancel = this.#options.clock.timer(wait, () => {
      if (mesh.peers().length === 0) for (const key of others) mesh.want(key)
    })
    until.addEventListener('abort', cancel, { once: true })
  }

  async #close(mesh: Mesh | undefined): Promise<void> {
    this.#limit = undefined
    await mesh?.[Symbol.asyncDispose]()
    this.#mesh = undefined
    this.#refused += mesh?.refusedCount ?? 0
  }
}
