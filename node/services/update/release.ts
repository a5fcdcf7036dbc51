/**
 * One release on this device: joins its swarm's scheduler to the peers that take part and to the
 * blob store. Chunks that the index has more than once go by their first number; with that one the
 * others are here too.
 */
import {
  createSwarm,
  hasBit,
  bitsOfRuns,
  isBusy,
  runsOfBits,
  setBit,
  step,
  UpdateError,
  type FrameOf,
  type OpenedIndex,
  type SwarmAction,
  type SwarmEvent,
  type SwarmState,
} from '../../../protocols/update/index.ts'
import { asError } from '../../errors.ts'
import type { ExchangeDeps } from './exchange.ts'
import type { Pace } from './pace.ts'
import { refusal, type Link } from './peers.ts'

export interface ReleaseDeps extends Pick<
  ExchangeDeps,
  'blobs' | 'clock' | 'log' | 'random' | 'tuning'
> {
  readonly pace: Pace
  readonly onFault: (peer: Uint8Array, code: string, release: Uint8Array) => void
  /** It has become complete, or is so no more. */
  readonly onComplete: () => void
  /** Something was done: it may be that time has to be watched. */
  readonly onStep: () => void
}

/** What a fetch hears of. */
export interface Fetcher {
  readonly onKept: (n: number, peer: Link | undefined, bytes: number) => void
  readonly onWasted: (bytes: number) => void
  readonly onDone: () => void
  readonly onFailed: (error: Error) => void
}

export interface Release {
  readonly opened: OpenedIndex
  readonly swarm: SwarmState
  readonly complete: boolean
  /** Numbers that are fetched in place of others with the same content. */
  firstOf(n: number): number
  join(link: Link): void
  leave(link: Link): void
  readonly peers: number
  said(link: Link, frame: FrameOf<'have' | 'have-more' | 'want' | 'cancel' | 'credit'>): void
  /** @returns when the next may be read */
  chunk(link: Link, frame: FrameOf<'chunk'>): Promise<void> | void
  lost(link: Link, chunks: readonly number[]): void
  /** From now on this is fetched, for `fetcher`; for undefined, nothing. */
  need(bits: Uint8Array, fetcher: Fetcher | undefined): void
  /** See what came to the blob store from elsewhere. */
  look(): void
  /** A blob went. */
  gone(hash: Uint8Array): void
  readonly busy: boolean
  tick(): void
}

/** Chunks of one peer that are checked at once; more are read when one of them is done. */
const MAX_CHECKS = 4

export function createRelease(opened: OpenedIndex, deps: ReleaseDeps): Release {
  return new RunningRelease(opened, deps)
}

class RunningRelease implements Release {
  readonly opened: OpenedIndex
  readonly swarm: SwarmState
  readonly #deps: ReleaseDeps
  readonly #links = new Map<string, Link>()
  readonly #checks = new Map<Link, Set<Promise<void>>>()
  /** All numbers of one content, by the key of its hash. */
  readonly #numbers = new Map<string, number[]>()
  #fetcher: Fetcher | undefined
  #wasComplete: boolean

  constructor(opened: OpenedIndex, deps: ReleaseDeps) {
    this.opened = opened
    this.#deps = deps
    const count = opened.chunks.length
    const [have, repeats] = [bitsFor(count), bitsFor(count)]
    for (const [n, { hash }] of opened.chunks.entries()) {
      const key = keyOf(hash)
      const numbers = this.#numbers.get(key)
      if (numbers === undefined) this.#numbers.set(key, [n])
      else {
        numbers.push(n)
        setBit(repeats, n)
      }
      if (deps.blobs.has(hash)) setBit(have, n)
    }
    const { random, tuning = {} } = deps
    const sizeOf = (n: number): number => opened.chunks[n]?.stored ?? 0
    this.swarm = createSwarm({ count, sizeOf, have, repeats, random, tuning })
    this.#wasComplete = this.complete
  }

  get complete(): boolean {
    return this.swarm.hereCount === this.swarm.count
  }

  get busy(): boolean {
    return isBusy(this.swarm)
  }

  get peers(): number {
    let peers = 0
    for (const { count } of this.swarm.ring) if (count > 0) peers++
    return peers
  }

  firstOf(n: number): number {
    const hash = this.opened.chunks[n]?.hash
    return hash === undefined ? n : (this.#numbers.get(keyOf(hash))?.[0] ?? n)
  }

  join(link: Link): void {
    if (this.#links.get(link.name) === link) return
    this.#links.set(link.name, link)
    this.#step({ type: 'join', peer: link.name })
  }

  leave(link: Link): void {
    if (this.#links.get(link.name) !== link) return
    this.#links.delete(link.name)
    this.#checks.delete(link)
    this.#step({ type: 'leave', peer: link.name })
  }

  said(link: Link, frame: FrameOf<'have' | 'have-more' | 'want' | 'cancel' | 'credit'>): void {
    const peer = link.name
    if (frame.type === 'have') {
      const bits = bitsOfRuns(frame.runs, this.swarm.count)
      this.#step({ type: 'have', peer, bits })
    } else if (frame.type === 'credit') {
      const { count, from, to } = frame
      this.#step({ type: 'credit', peer, count, from, to })
    } else this.#step({ type: frame.type, peer, chunks: frame.chunks })
  }

  lost(link: Link, chunks: readonly number[]): void {
    this.#step({ type: 'lost', peer: link.name, chunks })
  }

  chunk(link: Link, frame: FrameOf<'chunk'>): Promise<void> | void {
    const { n } = frame
    const actions = this.#decide({ type: 'arrived', peer: link.name, n })
    if (actions.some(({ type }) => type === 'check')) this.#check(link, frame)
    else this.#fetcher?.onWasted(frame.bytes.length)
    this.#perform(actions)
    const checks = this.#checks.get(link)
    if (checks !== undefined && checks.size >= MAX_CHECKS) return Promise.race(checks)
  }

  need(bits: Uint8Array, fetcher: Fetcher | undefined): void {
    this.#fetcher = fetcher
    this.#step({ type: 'need', bits })
  }

  look(): void {
    const { blobs } = this.#deps
    const found: number[] = []
    for (const [n, { hash }] of this.opened.chunks.entries()) {
      if (!hasBit(this.swarm.have, n) && blobs.has(hash)) found.push(n)
    }
    if (found.length > 0) this.#step({ type: 'found', chunks: found })
  }

  gone(hash: Uint8Array): void {
    const chunks = this.#numbers.get(keyOf(hash))
    if (chunks !== undefined) this.#step({ type: 'gone', chunks })
  }

  tick(): void {
    this.#step({ type: 'tick' })
  }

  #decide(event: SwarmEvent): readonly SwarmAction[] {
    return step(this.swarm, event, this.#deps.clock.monotonic())
  }

  #step(event: SwarmEvent): void {
    this.#perform(this.#decide(event))
  }

  #perform(actions: readonly SwarmAction[]): void {
    for (const action of actions) {
      if (action.type === 'done') this.#fetcher?.onDone()
      else this.#act(action)
    }
    if (this.complete !== this.#wasComplete) {
      this.#wasComplete = this.complete
      this.#deps.onComplete()
    }
    this.#deps.onStep()
  }

  #act(action: Exclude<SwarmAction, { type: 'done' }>): void {
    const link = this.#links.get(action.peer)
    if (link === undefined) return
    const index = this.opened.id
    switch (action.type) {
      case 'have': {
        const runs = runsOfBits(this.swarm.have, this.swarm.count)
        return link.say({ type: 'have', index, runs })
      }
      case 'credit':
        return link.say({ ...action, index })
      case 'have-more':
      case 'want':
      case 'cancel':
        return link.say({ type: action.type, index, chunks: action.chunks })
      case 'lost':
        return this.#answer(link, { type: 'lost', index, chunks: action.chunks })
      case 'upload':
        return void this.#upload(link, action.n)
      case 'check':
        // By whoever has the bytes.
        return undefined
      case 'cut':
        this.#answer(link, refusal(action.code, index))
        this.#links.delete(link.name)
        this.#checks.delete(link)
        return this.#deps.onFault(link.key, action.code, index)
    }
  }

  /** A link that cannot take it is broken, and leaves. */
  #answer(link: Link, frame: FrameOf<'lost' | 'refused'>): void {
    link.answer(frame).catch(() => undefined)
  }

  async #upload(link: Link, n: number): Promise<void> {
    const { blobs, pace, log } = this.#deps
    const peer = link.name
    try {
      const hash = this.opened.chunks[n]?.hash
      const blob = hash === undefined ? undefined : await blobs.get(hash)
      if (blob === undefined) {
        this.#step({ type: 'unsent', peer, n })
        return
      }
      const { bytes, codec } = blob
      await pace.wait(bytes.length, link.signal)
      await link.answer({ type: 'chunk', index: this.opened.id, n, codec, bytes })
      this.#step({ type: 'sent', peer, n })
    } catch (error) {
      // Where the link is gone, the peer leaves; else the store cannot read, and may later.
      if (link.signal.aborted) return
      log.warn({ err: error }, 'chunk not sent')
      this.#step({ type: 'unsent', peer, n })
    }
  }

  #check(link: Link, frame: FrameOf<'chunk'>): void {
    const checks = this.#checks.get(link) ?? new Set()
    this.#checks.set(link, checks)
    const check: Promise<void> = this.#keep(link, frame).finally(() => checks.delete(check))
    checks.add(check)
  }

  async #keep(link: Link, { n, codec, bytes }: FrameOf<'chunk'>): Promise<void> {
    const peer = link.name
    const chunk = this.opened.chunks[n]
    if (chunk === undefined) return
    try {
      await this.#deps.blobs.put(chunk, { codec, bytes })
    } catch (error) {
      const wrong = error instanceof UpdateError && error.code === 'UPDATE_WRONG_CHUNK'
      this.#step({ type: wrong ? 'wrong' : 'unkept', peer, n })
      if (!wrong) this.#fetcher?.onFailed(asError(error))
      return
    }
    this.#fetcher?.onKept(n, link, bytes.length)
    const others = this.#numbers.get(keyOf(chunk.hash)) ?? []
    if (others.length > 1) this.#step({ type: 'found', chunks: others.filter((m) => m !== n) })
    this.#step({ type: 'verified', peer, n })
  }
}

function bitsFor(count: number): Uint8Array {
  return new Uint8Array(Math.ceil(count / 8))
}

/** One character for each byte: cheap to make, and the same for the same bytes. */
function keyOf(hash: Uint8Array): string {
  return Buffer.from(hash.buffer, hash.byteOffset, hash.byteLength).toString('latin1')
}
