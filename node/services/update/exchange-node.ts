/** Joins peers, files, releases and reports into one Exchange. */
import { peerIdOf } from '../../../protocols/identity/index.ts'
import {
  hasBit,
  setBit,
  UpdateError,
  type FrameOf,
  type OpenedIndex,
  type UpdateReport,
} from '../../../protocols/update/index.ts'
import { equalBytes, toHex } from '../../../protocols/wire/index.ts'
import { createEmitter, type Emitter } from '../../events.ts'
import { NodeError } from '../../errors.ts'
import type {
  ChannelOffer,
  Exchange,
  ExchangeDeps,
  ExchangeEvents,
  FetchOptions,
  FetchResult,
  FileName,
} from './exchange.ts'
import { runFetch } from './fetch.ts'
import { createFiles, type Files } from './files.ts'
import { createPace, type Pace } from './pace.ts'
import { startPeers, type Answer, type Link, type Peers, type Saying } from './peers.ts'
import { createRelease, type Release } from './release.ts'
import { createReports, type Reports } from './reports.ts'

/** How often time is looked at while anything is under way. */
const TICK_MS = 50

export async function joinExchange(deps: ExchangeDeps, signal: AbortSignal): Promise<Exchange> {
  signal.throwIfAborted()
  const node = new ExchangeNode(deps, signal)
  await node.start()
  return node
}

class ExchangeNode implements Exchange {
  readonly events: Emitter<ExchangeEvents>
  readonly #deps: ExchangeDeps
  readonly #stop = new AbortController()
  readonly #until: AbortSignal
  readonly #files: Files
  readonly #reports: Reports
  readonly #pace: Pace
  readonly #releases = new Map<string, Release>()
  /** Releases that are offered, and those of them that are being fetched. */
  readonly #offered = new Set<Release>()
  readonly #fetching = new Set<Release>()
  readonly #offers = new Map<Link, FrameOf<'offer'>>()
  #peers: Peers | undefined
  #channels: readonly ChannelOffer[] = []
  #cancelTick: (() => void) | undefined

  constructor(deps: ExchangeDeps, signal: AbortSignal) {
    this.#deps = deps
    this.#until = AbortSignal.any([signal, this.#stop.signal])
    this.events = createEmitter((err) => deps.log.error({ err }, 'update listener failed'))
    this.#files = createFiles(deps)
    this.#reports = createReports(deps)
    this.#pace = createPace(deps.clock, deps.uploadLimit ?? (() => undefined))
    this.#until.addEventListener('abort', () => this.#cancelTick?.(), { once: true })
    const off = deps.blobs.onGone((hash) => {
      for (const release of this.#releases.values()) release.gone(hash)
    })
    this.#until.addEventListener('abort', off, { once: true })
  }

  async start(): Promise<void> {
    const { allows, clock, log, mesh } = this.#deps
    const parts = {
      mesh,
      clock,
      log,
      allows,
      onUp: (link: Link) => this.#up(link),
      onDown: (link: Link) => this.#down(link),
      onSaid: (link: Link, frame: Saying) => this.#said(link, frame),
      onAnswer: (link: Link, frame: Answer) => this.#answered(link, frame),
      onFault: (peer: Uint8Array, code: string) => this.#fault(peer, code),
    }
    this.#peers = await startPeers(parts, this.#until)
  }

  offer(opened: OpenedIndex): void {
    const release = this.#release(opened)
    release.look()
    if (this.#offered.has(release)) return
    this.#offered.add(release)
    this.#tellOffer()
    for (const [link, offer] of this.#offers) this.#meet(release, link, offer)
  }

  withdraw(id: Uint8Array): void {
    const release = this.#releases.get(toHex(id))
    if (release === undefined || this.#fetching.has(release)) return
    this.#releases.delete(toHex(id))
    this.#offered.delete(release)
    this.#tellOffer()
    for (const link of this.#links()) release.leave(link)
  }

  announce(channels: readonly ChannelOffer[]): void {
    this.#channels = channels
    this.#tellOffer()
  }

  again(): void {
    this.#peers?.again()
  }

  offers(): readonly ExchangeEvents['offer'][] {
    return [...this.#offers].map(([{ key }, { channels, indexes }]) => ({
      peer: key,
      channels,
      indexes,
    }))
  }

  async fetch(
    opened: OpenedIndex,
    signal: AbortSignal,
    options: FetchOptions = {},
  ): Promise<FetchResult> {
    const until = AbortSignal.any([signal, this.#until])
    until.throwIfAborted()
    const release = this.#release(opened)
    if (this.#fetching.has(release)) throw new NodeError('NODE_CONFLICT', 'It is being fetched.')
    this.#fetching.add(release)
    try {
      this.offer(opened)
      const { clock, blobs } = this.#deps
      return await runFetch(
        release,
        { clock, blobs, needs: needsOf(release, options) },
        until,
        options,
      )
    } finally {
      this.#fetching.delete(release)
    }
  }

  ask(peer: Uint8Array, file: FileName, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const link = this.#links().find(({ key }) => equalBytes(key, peer))
    if (link === undefined) {
      const error = new NodeError('NODE_TIMEOUT', 'The device is not connected.')
      return Promise.reject(error)
    }
    return this.#files.ask(link, file, AbortSignal.any([signal, this.#until]))
  }

  report(report: UpdateReport): void {
    if (this.#reports.keep(report)) this.#pass(report)
  }

  reports(): readonly UpdateReport[] {
    return this.#reports.all()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('stopping'))
    await this.#peers?.done()
  }

  #links(): readonly Link[] {
    return this.#peers?.links() ?? []
  }

  #release(opened: OpenedIndex): Release {
    const key = toHex(opened.id)
    const known = this.#releases.get(key)
    if (known !== undefined) return known
    const release = createRelease(opened, {
      ...this.#deps,
      pace: this.#pace,
      onFault: (peer, code, id) => this.#fault(peer, code, id),
      onComplete: () => this.#tellOffer(),
      onStep: () => this.#watch(),
    })
    this.#releases.set(key, release)
    return release
  }

  #up(link: Link): void {
    link.say(this.#offer())
    for (const { bytes } of this.#reports.all()) link.say({ type: 'report', bytes })
  }

  #down(link: Link): void {
    this.#offers.delete(link)
    this.#files.gone(link)
    for (const release of this.#releases.values()) release.leave(link)
  }

  #said(link: Link, frame: Saying): void {
    switch (frame.type) {
      case 'offer':
        return this.#offeredBy(link, frame)
      case 'meta-ask':
        return this.#files.asked(link, frame)
      case 'report':
        return this.#reported(link, frame.bytes)
      case 'have':
      case 'have-more':
      case 'want':
      case 'cancel':
      case 'credit':
        // Of a release that was withdrawn meanwhile, it may not have heard yet.
        return this.#releases.get(toHex(frame.index))?.said(link, frame)
    }
  }

  #answered(link: Link, frame: Answer): Promise<void> | void {
    if (frame.type === 'meta') return this.#files.took(link, frame)
    if (frame.type === 'refused') return this.#refused(link, frame)
    const release = this.#releases.get(toHex(frame.index))
    if (frame.type === 'chunk') return release?.chunk(link, frame)
    return release?.lost(link, frame.chunks)
  }

  #refused(link: Link, { status, index }: FrameOf<'refused'>): void {
    const { log } = this.#deps
    log.info({ peer: peerIdOf(link.key), status }, 'a peer refuses')
    if (index !== undefined) this.#releases.get(toHex(index))?.leave(link)
  }

  #offeredBy(link: Link, frame: FrameOf<'offer'>): void {
    this.#offers.set(link, frame)
    for (const release of this.#offered) this.#meet(release, link, frame)
    const { channels, indexes } = frame
    this.events.emit('offer', { peer: link.key, channels, indexes })
  }

  /** They take part in a release together while both offer it. */
  #meet(release: Release, link: Link, { indexes }: FrameOf<'offer'>): void {
    const both = indexes.some(({ index }) => equalBytes(index, release.opened.id))
    if (both) release.join(link)
    else release.leave(link)
  }

  #reported(link: Link, bytes: Uint8Array): void {
    const report = this.#reports.took(bytes)
    if (report === undefined) return
    this.#pass(report, link)
    this.events.emit('report', { report, from: link.key })
  }

  #pass({ bytes }: UpdateReport, from?: Link): void {
    for (const link of this.#links()) if (link !== from) link.say({ type: 'report', bytes })
  }

  #offer(): FrameOf<'offer'> {
    const indexes = [...this.#offered].map(({ opened, complete }) => ({
      index: opened.id,
      complete,
    }))
    return { type: 'offer', channels: this.#channels, indexes }
  }

  #tellOffer(): void {
    const offer = this.#offer()
    for (const link of this.#links()) link.say(offer)
  }

  #fault(peer: Uint8Array, code: string, release?: Uint8Array): void {
    this.events.emit('fault', { peer, code, release })
  }

  #watch(): void {
    if (this.#cancelTick !== undefined || this.#until.aborted) return
    if (![...this.#releases.values()].some(({ busy }) => busy)) return
    this.#cancelTick = this.#deps.clock.timer(TICK_MS, () => {
      this.#cancelTick = undefined
      for (const release of this.#releases.values()) if (release.busy) release.tick()
      this.#watch()
    })
  }
}

/** By the first number of each content. */
function needsOf(release: Release, { needs }: FetchOptions): Uint8Array {
  const { opened, swarm } = release
  const bits = new Uint8Array(Math.ceil(swarm.count / 8))
  const numbers = needs ?? opened.index.chunks.keys()
  for (const n of numbers) {
    if (n >= swarm.count) throw new UpdateError('UPDATE_BAD_NUMBER')
    const first = release.firstOf(n)
    if (!hasBit(bits, first)) setBit(bits, first)
  }
  return bits
}
