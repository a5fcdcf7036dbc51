/**
 * The home's membership as a service: greets every connection, keeps the log of ops on disk, tells
 * connected peers at once what changed, and says who may connect. What ops mean is
 * protocols/members; where they are kept is the caller's `store`.
 */
import type { Logger } from 'pino'

import {
  greet,
  HELLO,
  HelloError,
  MAX_HEADS,
  type HelloMessage,
} from '../../../protocols/hello/index.ts'
import { peerIdOf, type Signer } from '../../../protocols/identity/index.ts'
import {
  MEMBERS,
  membersAt,
  reduce,
  syncMembers,
  type AuthorContext,
  type Device,
  type HomeState,
  type Op,
  type OpSet,
} from '../../../protocols/members/index.ts'
import { equalBytes, toHex, type Channel, type Protocol } from '../../../protocols/wire/index.ts'
import type { Clock } from '../../env.ts'
import { asError } from '../../errors.ts'
import { createEmitter, type Emitter } from '../../events.ts'
import type { Mesh } from '../../mesh/mesh.ts'
import { describeChanges } from './changes.ts'
import { faultOf, removedSigners } from './faults.ts'
import type { Journal } from '../../journal.ts'

export interface MembersEvents extends Record<string, unknown> {
  /** The home is not what it was: ops came, or a grant ran out. */
  change: HomeState
  /** A device sent, or signed, what no honest one does: for incident reports. */
  refused: { readonly device: Uint8Array; readonly code: string }
}

export interface MembersDeps {
  /** All ops on disk; genesis at the least. */
  readonly ops: OpSet
  readonly signer: Signer
  /** Put new ops on disk, parents first; they would survive a power cut when it returns. */
  readonly store: (ops: readonly Op[]) => void
  /** What our hello says besides membership. */
  readonly about: () => Pick<HelloMessage, 'logs' | 'power' | 'version' | 'features'>
  readonly clock: Clock
  readonly log: Logger
  readonly journal: Journal
}

/** The part of the mesh that membership needs. */
export type MembersMesh = Pick<Mesh, 'events' | 'open' | 'peers' | 'serve' | 'setMembers'>

export interface Members extends AsyncDisposable {
  readonly home: Uint8Array
  readonly events: Emitter<MembersEvents>
  readonly ops: OpSet
  /** The home as all known ops make it. */
  readonly state: HomeState
  /** Our own place; undefined once we were removed. */
  readonly self: Device | undefined
  /** Devices whose grants are live now. */
  active(): readonly Device[]
  /** What a peer said when it greeted us last, in this run. */
  lastHello(key: Uint8Array): HelloMessage | undefined
  /** For the mesh: runs on every new connection. */
  readonly greeting: {
    readonly protocol: Protocol
    readonly run: (channel: Channel, peer: Uint8Array) => Promise<void>
  }
  /** Serve sync, tell the mesh who may connect, and keep both true. Once, after the mesh started. */
  attach(mesh: MembersMesh): Promise<void>
  /** Sign, store and spread one act. Returns its ops. @throws MembersError */
  act(make: (context: AuthorContext) => Op | readonly Op[]): readonly Op[]
  /** The home as one act would leave it. Nothing is stored or told. @throws MembersError */
  preview(make: (context: AuthorContext) => Op): HomeState
}

/** A removed device is told so before it is cut, if it listens at once. */
const FAREWELL_MS = 1_000
const SYNC_MS = 10_000
/** A connected peer that could not be told is tried again, after twice as long each time. */
const RETRY_MS = 1_000
const MAX_RETRIES = 5
/** Longest timer that Node.js keeps exactly. */
const MAX_TIMER_MS = 2 ** 31 - 1

export function startMembers(deps: MembersDeps, signal: AbortSignal): Members {
  return new MembersService(deps, signal)
}

/** Telling one peer what is new. */
interface Push {
  /** Something changed since it began. */
  again: boolean
  done: Promise<void>
}

class MembersService implements Members {
  readonly events: Emitter<MembersEvents>
  readonly ops: OpSet
  readonly greeting: Members['greeting']
  readonly #deps: MembersDeps
  readonly #stop = new AbortController()
  readonly #signal: AbortSignal
  readonly #hellos = new Map<string, HelloMessage>()
  readonly #pushes = new Map<string, Push>()
  /** How many ops a peer that we greeted, and that is not connected yet, knows of ours. */
  readonly #greeted = new Map<string, number>()
  /** In the set, but refused by the disk: they do not count until it took them. */
  #unsaved: readonly Op[] = []
  #state: HomeState
  #mesh: MembersMesh | undefined
  #cancelExpiry = (): void => undefined

  constructor(deps: MembersDeps, signal: AbortSignal) {
    this.#deps = deps
    this.ops = deps.ops
    this.#signal = AbortSignal.any([signal, this.#stop.signal])
    this.events = createEmitter((error) => deps.log.error({ err: error }, 'listener failed'))
    this.greeting = { protocol: HELLO, run: (channel, peer) => this.#greet(channel, peer) }
    this.#state = reduce(deps.ops)
    this.#watchExpiry()
  }

  get home(): Uint8Array {
    return this.ops.home
  }

  get state(): HomeState {
    return this.#state
  }

  get self(): Device | undefined {
    const { key } = this.#deps.signer
    return this.active().find((device) => equalBytes(device.key, key))
  }

  active(): readonly Device[] {
    return membersAt(this.#state, this.#deps.clock.now())
  }

  lastHello(key: Uint8Array): HelloMessage | undefined {
    return this.#hellos.get(toHex(key))
  }

  act(make: (context: AuthorContext) => Op | readonly Op[]): readonly Op[] {
    const { ops, signer, clock, store } = this.#deps
    const made = [make({ ops, signer, nowMs: clock.now() })].flat()
    // On disk before it exists for anyone: an act is whole or it never was.
    store([...this.#unsaved, ...made])
    this.#unsaved = []
    for (const { bytes } of made) ops.add(bytes)
    this.#changed()
    return made
  }

  preview(make: (context: AuthorContext) => Op): HomeState {
    const { signer, clock } = this.#deps
    const copy = this.ops.fork()
    copy.add(make({ ops: this.ops, signer, nowMs: clock.now() }).bytes)
    return reduce(copy)
  }

  async attach(mesh: MembersMesh): Promise<void> {
    this.#mesh = mesh
    mesh.setMembers(this.active().map(({ key }) => key))
    mesh.events.on('connect', ({ key }) => this.#catchUp(key), this.#signal)
    await mesh.serve(MEMBERS, async (channel, peer) => void (await this.#exchange(channel, peer)))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#cancelExpiry()
    this.#stop.abort(new Error('stopping'))
  }

  async #greet(channel: Channel, peer: Uint8Array): Promise<void> {
    this.#greeted.set(toHex(peer), this.ops.entries.length)
    const { heads, epoch, hash } = this.#state
    const ours: HelloMessage = {
      home: this.home,
      heads: heads.slice(0, MAX_HEADS),
      epoch,
      state: hash,
      ...this.#deps.about(),
    }
    const { theirs, differs } = await greet(channel, ours)
    if (differs) {
      const known = this.ops.entries.length
      this.#greeted.set(toHex(peer), known + (await this.#exchange(channel, peer)))
    }
    if (!differs && !equalBytes(theirs.state, hash)) this.#reportDisagreement(peer)
    if (!this.active().some(({ key }) => equalBytes(key, peer))) {
      throw new HelloError('HELLO_NOT_A_MEMBER')
    }
    this.#hellos.set(toHex(peer), theirs)
  }

  /** What came while we greeted was told to those who were connected, and so not to this one. */
  #catchUp(peer: Uint8Array): void {
    const known = this.#greeted.get(toHex(peer))
    this.#greeted.delete(toHex(peer))
    if (known !== undefined && known < this.ops.entries.length) void this.#push(peer)
  }

  /** Same ops, another home: a defect in one of the two, never an attack. */
  #reportDisagreement(peer: Uint8Array): void {
    const device = peerIdOf(peer)
    this.#deps.log.error({ device }, 'a device reads the same membership differently')
    this.#deps.journal.record('members.disagree', { device })
  }

  /** How many ops the peer brought. */
  async #exchange(channel: Channel, peer: Uint8Array): Promise<number> {
    const { ops, clock, log } = this.#deps
    let received: readonly Op[] = []
    let brought = 0
    let over = false
    const took = (): void => {
      const taken = received
      received = []
      if (taken.length > 0) this.#changed(peer, taken)
    }
    try {
      received = this.#save([])
      const result = await syncMembers(channel, {
        ops,
        clock,
        store: (added) => {
          brought += added.length
          received = [...received, ...this.#save(added)]
          // Frames that came before a reset are still read after our own side has failed.
          if (over) took()
        },
        onWrong: (code) => this.events.emit('refused', { device: peer, code }),
      })
      if (result.refused > 0) {
        log.warn({ device: peerIdOf(peer), refused: result.refused }, 'membership ops refused')
      }
      return brought
    } catch (error) {
      const code = faultOf(error)
      if (code !== undefined) this.events.emit('refused', { device: peer, code })
      throw error
    } finally {
      over = true
      // What was stored counts, whether or not the exchange ended well.
      took()
    }
  }

  /** Put `added`, and what the disk refused before, on disk. Returns all of that. */
  #save(added: readonly Op[]): readonly Op[] {
    const unsaved = [...this.#unsaved, ...added]
    this.#unsaved = unsaved
    if (unsaved.length > 0) this.#deps.store(unsaved)
    this.#unsaved = []
    return unsaved
  }

  /** Take in what the set holds now, and tell everyone but `source`, who told us. */
  #changed(source?: Uint8Array, received: readonly Op[] = []): void {
    const before = this.#state
    this.#state = reduce(this.ops)
    for (const device of removedSigners(received, this.#state)) {
      this.events.emit('refused', { device, code: 'MEMBERS_REMOVED_KEY' })
    }
    this.#watchExpiry()
    for (const { type, data } of describeChanges(before, this.#state)) {
      this.#deps.journal.record(type, data)
      this.#deps.log.info({ change: type, ...data }, 'home changed')
    }
    void this.#spread(source)
    this.events.emit('change', this.#state)
  }

  async #spread(source: Uint8Array | undefined): Promise<void> {
    const mesh = this.#mesh
    if (mesh === undefined) return
    const keys = this.active().map(({ key }) => key)
    const allowed = new Set(keys.map(toHex))
    const connected = mesh.peers().map(({ key }) => key)
    const leaving = connected.filter((key) => !allowed.has(toHex(key)))
    mesh.setMembers([...keys, ...leaving])
    for (const key of connected) {
      const told = source !== undefined && equalBytes(key, source)
      if (allowed.has(toHex(key)) && !told) void this.#push(key)
    }
    if (leaving.length === 0) return
    const told = Promise.all(leaving.map((key) => this.#push(key)))
    await Promise.race([told, this.#pause(FAREWELL_MS)])
    mesh.setMembers(this.active().map(({ key }) => key))
  }

  /** One sync at a time with each peer; what changes meanwhile is told in one more. Never throws. */
  #push(peer: Uint8Array): Promise<void> {
    const name = toHex(peer)
    const running = this.#pushes.get(name)
    if (running !== undefined) {
      running.again = true
      return running.done
    }
    const push: Push = { again: false, done: Promise.resolve() }
    this.#pushes.set(name, push)
    push.done = this.#tell(peer, push)
    return push.done
  }

  async #tell(peer: Uint8Array, push: Push): Promise<void> {
    // In the turn of the last look at `again`: what changes a moment later begins a new push.
    const over = (): boolean => this.#pushes.delete(toHex(peer))
    for (let failures = 0; ;) {
      push.again = false
      const told = await this.#syncWith(peer)
      if (told && !push.again) return void over()
      failures = told ? 0 : failures + 1
      if (!told) await this.#pause(RETRY_MS * 2 ** (failures - 1))
      // A peer that is gone hears it in its next greeting.
      const connected = this.#mesh?.peers().some(({ key }) => equalBytes(key, peer)) ?? false
      if (!connected || failures > MAX_RETRIES || this.#signal.aborted) return void over()
    }
  }

  /** False where the peer may not have been told. */
  async #syncWith(peer: Uint8Array): Promise<boolean> {
    const late = new AbortController()
    const cancel = this.#deps.clock.timer(SYNC_MS, () => late.abort(new Error('too slow')))
    try {
      const until = AbortSignal.any([this.#signal, late.signal])
      await using stream = await this.#mesh?.open(peer, MEMBERS, until)
      if (stream !== undefined) await this.#exchange(stream.channel, peer)
      return true
    } catch (error) {
      const { message } = asError(error)
      this.#deps.log.debug({ device: peerIdOf(peer), why: message }, 'membership not told now')
      return false
    } finally {
      cancel()
    }
  }

  /** Ends early where we stop. */
  #pause(ms: number): Promise<void> {
    return this.#deps.clock.sleep(ms, this.#signal).catch(() => undefined)
  }

  /** Grants end by the clock as well: look again when the next one does. */
  #watchExpiry(): void {
    this.#cancelExpiry()
    const now = this.#deps.clock.now()
    const next = Math.min(
      ...this.active().map(({ expiresAtMs }) => expiresAtMs ?? Number.POSITIVE_INFINITY),
    )
    if (next === Number.POSITIVE_INFINITY) return
    this.#cancelExpiry = this.#deps.clock.timer(Math.min(next - now, MAX_TIMER_MS), () => {
      this.#watchExpiry()
      void this.#spread(undefined)
      this.events.emit('change', this.#state)
    })
  }
}
