/**
 * The channels of the home: followed over peers, each as `tuf/` lets it be believed. Peers say how new
 * their files are; whoever has newer ones is asked, and now and then any. What a peer sends that no
 * honest one does is told, and that peer is not asked about the channel for a while.
 *
 * Not here: what is done with a release.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'

import type { Logger } from 'pino'

import { peerIdOf } from '../../../protocols/identity/index.ts'
import {
  openIndex,
  UpdateError,
  type ChannelPin,
  type OpenedIndex,
} from '../../../protocols/update/index.ts'
import { equalBytes, toHex, WireError } from '../../../protocols/wire/index.ts'
import type { Clock } from '../../env.ts'
import { asError } from '../../errors.ts'
import type { Busy } from './busy.ts'
import type { Exchange, ExchangeEvents } from './exchange.ts'
import {
  openChannelClient,
  TufError,
  type ChannelClient,
  type ChannelView,
  type FetchFile,
  type Release,
  type TufTime,
} from './tuf/index.ts'

export interface ChannelsDeps {
  /** One folder for each channel is made in it. */
  readonly folder: string
  readonly clock: Clock
  readonly log: Logger
  readonly time: () => TufTime
  /** Told of what is asked of peers. */
  readonly busy: Pick<Busy, 'hold'>
  /** What is known of a channel has changed. */
  readonly onChange: (channel: string) => void
  /** What no honest peer sends; without a peer it came from elsewhere. */
  readonly onAttack: (code: string, peer: Uint8Array | undefined) => void
}

export interface Channels {
  /** The channels that the home trusts from now on. What is known of others stays on disk. */
  set(pins: readonly ChannelPin[]): Promise<void>
  /** From here on peers are asked. */
  attach(exchange: Exchange, signal: AbortSignal): void
  names(): readonly string[]
  client(channel: string): ChannelClient | undefined
  view(channel: string): ChannelView | undefined
  /** Take what is new from one source, with the indexes that it has. @throws TufError */
  takeFrom(channel: string, fetch: FetchFile, signal: AbortSignal): Promise<ChannelView>
  /** Its client was told something new by another hand. */
  refreshed(channel: string): void
  /** The index of a release, from disk or from peers; undefined where nobody has it now. */
  index(channel: string, release: Release, signal: AbortSignal): Promise<OpenedIndex | undefined>
  /** From disk alone. */
  kept(channel: string, release: Release, signal: AbortSignal): Promise<OpenedIndex | undefined>
  file(channel: string, file: string): Promise<Uint8Array | undefined>
}

const REFRESH_MS = 60 * 60 * 1000
/** After an attack a peer is not asked about the channel for this long. */
const SHUN_MS = 10 * 60 * 1000

interface Followed {
  readonly pin: Uint8Array
  readonly client: ChannelClient
  /** Peers that are being asked what is new. */
  readonly asking: Set<string>
  /** Until when peers are not asked; on the monotonic clock. */
  readonly shunned: Map<string, number>
  /** Newest number that a peer was asked for, by peer: two devices may hold different files under one. */
  readonly compared: Map<string, number>
}

export function createChannels(deps: ChannelsDeps): Channels {
  return new FollowedChannels(deps)
}

class FollowedChannels implements Channels {
  readonly #deps: ChannelsDeps
  readonly #followed = new Map<string, Followed>()
  #exchange: Exchange | undefined
  #last: Promise<unknown> = Promise.resolve()
  #signal: AbortSignal = new AbortController().signal

  constructor(deps: ChannelsDeps) {
    this.#deps = deps
  }

  set(pins: readonly ChannelPin[]): Promise<void> {
    const run = (): Promise<void> => this.#set(pins)
    const result = this.#last.then(run, run)
    this.#last = result.catch(() => undefined)
    return result
  }

  async #set(pins: readonly ChannelPin[]): Promise<void> {
    const { folder, clock, time } = this.#deps
    for (const [name, { pin }] of this.#followed) {
      const still = pins.some((one) => one.name === name && equalBytes(one.root, pin))
      if (!still) this.#followed.delete(name)
    }
    for (const { name, root: pin } of pins) {
      if (this.#followed.has(name)) continue
      const own = join(folder, name)
      await mkdir(own, { recursive: true, mode: 0o700 })
      const client = await openChannelClient({ folder: own, channel: name, pin, clock, time })
      this.#followed.set(name, {
        pin,
        client,
        asking: new Set(),
        shunned: new Map(),
        compared: new Map(),
      })
      this.#deps.onChange(name)
    }
    this.#announce()
    for (const offer of this.#exchange?.offers() ?? []) this.#heard(offer)
  }

  attach(exchange: Exchange, signal: AbortSignal): void {
    this.#exchange = exchange
    this.#signal = signal
    exchange.events.on('offer', (offer) => this.#heard(offer), signal)
    this.#announce()
    for (const offer of exchange.offers()) this.#heard(offer)
    this.#refreshLater()
  }

  names(): readonly string[] {
    return [...this.#followed.keys()]
  }

  client(channel: string): ChannelClient | undefined {
    return this.#followed.get(channel)?.client
  }

  view(channel: string): ChannelView | undefined {
    return this.client(channel)?.view()
  }

  async takeFrom(channel: string, fetch: FetchFile, signal: AbortSignal): Promise<ChannelView> {
    return this.#refreshFrom(channel, fetch, signal, async (client, view) => {
      for (const release of view.releases) {
        await client.index(release, fetch, signal).catch((error: unknown) => {
          if (!(error instanceof TufError && error.code === 'TUF_MISSING')) throw error
        })
      }
    })
  }

  /** `then` is over before anyone hears that there is something new. */
  async #refreshFrom(
    channel: string,
    fetch: FetchFile,
    signal: AbortSignal,
    then: (client: ChannelClient, view: ChannelView) => Promise<void> = () => Promise.resolve(),
  ): Promise<ChannelView> {
    const client = this.client(channel)
    if (client === undefined)
      throw new TufError('TUF_CHANNEL', channel, 'the home does not trust it')
    const before = versionOf(client)
    try {
      const view = await client.refresh(fetch, signal)
      await then(client, view)
      return view
    } finally {
      if (versionOf(client) !== before) this.#changed(channel)
    }
  }

  refreshed(channel: string): void {
    this.#changed(channel)
  }

  async index(
    channel: string,
    release: Release,
    signal: AbortSignal,
  ): Promise<OpenedIndex | undefined> {
    const kept = await this.kept(channel, release, signal)
    if (kept !== undefined) return kept
    for (const { peer } of this.#sources(channel)) {
      const found = await this.#indexFrom(channel, release, { peer, signal })
      if (found !== undefined) return found
    }
    return undefined
  }

  async kept(
    channel: string,
    release: Release,
    signal: AbortSignal,
  ): Promise<OpenedIndex | undefined> {
    try {
      const bytes = await this.client(channel)?.index(release, undefined, signal)
      return bytes === undefined ? undefined : openIndex(bytes)
    } catch (error) {
      if (error instanceof TufError && error.code === 'TUF_MISSING') return undefined
      throw error
    }
  }

  async file(channel: string, file: string): Promise<Uint8Array | undefined> {
    return this.client(channel)?.file(file)
  }

  async #indexFrom(
    channel: string,
    release: Release,
    { peer, signal }: { readonly peer: Uint8Array; readonly signal: AbortSignal },
  ): Promise<OpenedIndex | undefined> {
    try {
      const bytes = await this.client(channel)?.index(release, this.#from(peer), signal)
      return bytes === undefined ? undefined : openIndex(bytes)
    } catch (error) {
      signal.throwIfAborted()
      this.#fault(channel, peer, error)
      return undefined
    }
  }

  /** Peers that follow the channel and may be asked. */
  #sources(channel: string): readonly ExchangeEvents['offer'][] {
    const shunned = this.#followed.get(channel)?.shunned
    const nowMs = this.#deps.clock.monotonic()
    return (this.#exchange?.offers() ?? []).filter(
      ({ peer, channels }) =>
        channels.some(({ name }) => name === channel) &&
        nowMs >= (shunned?.get(toHex(peer)) ?? -Infinity),
    )
  }

  #from(peer: Uint8Array): FetchFile {
    return async (channel, file, _maxBytes, signal) =>
      this.#exchange?.ask(peer, { channel, file }, signal)
  }

  #heard({ peer, channels }: ExchangeEvents['offer']): void {
    for (const { name, timestamp } of channels) {
      const known = this.#followed.get(name)
      if (known === undefined) continue
      const ours = known.client.complete()
      const isCompared = known.compared.get(toHex(peer)) === timestamp
      const asks = timestamp > ours || (timestamp > 0 && timestamp === ours && !isCompared)
      if (asks) void this.#deps.busy.hold(this.#refresh(name, known, peer))
    }
  }

  async #refresh(channel: string, known: Followed, peer: Uint8Array): Promise<void> {
    const name = toHex(peer)
    const nowMs = this.#deps.clock.monotonic()
    if (known.asking.has(name) || nowMs < (known.shunned.get(name) ?? -Infinity)) return
    known.asking.add(name)
    const offered = this.#offeredBy(channel, peer)
    try {
      await this.#refreshFrom(channel, this.#from(peer), this.#signal)
    } catch (error) {
      if (this.#signal.aborted) return
      this.#fault(channel, peer, error)
    } finally {
      known.asking.delete(name)
      known.compared.set(name, offered)
    }
    // It may have said something newer meanwhile, and given up what it was asked for.
    if (this.#offeredBy(channel, peer) > offered) await this.#refresh(channel, known, peer)
  }

  /** The number of the newest word that a peer says it has. */
  #offeredBy(channel: string, peer: Uint8Array): number {
    const said = this.#sources(channel).find((one) => equalBytes(one.peer, peer))
    return said?.channels.find(({ name }) => name === channel)?.timestamp ?? 0
  }

  /** Any peer may know better, also one that does not say so. */
  #refreshLater(): void {
    const cancel = this.#deps.clock.timer(REFRESH_MS, () => {
      for (const [name, known] of this.#followed) {
        const [first] = this.#sources(name)
        if (first !== undefined) void this.#refresh(name, known, first.peer)
      }
      if (!this.#signal.aborted) this.#refreshLater()
    })
    this.#signal.addEventListener('abort', cancel, { once: true })
  }

  #changed(channel: string): void {
    this.#announce()
    this.#deps.onChange(channel)
  }

  #announce(): void {
    const channels = [...this.#followed].map(([name, { client }]) => ({
      name,
      timestamp: client.complete(),
    }))
    this.#exchange?.announce(channels)
  }

  #fault(channel: string, peer: Uint8Array, error: unknown): void {
    const { clock, log, onAttack } = this.#deps
    const { message } = asError(error)
    log.info({ channel, peer: peerIdOf(peer), why: message }, 'a channel could not be refreshed')
    // Whoever brought it is not to blame for what its owner signed twice.
    if (error instanceof TufError && error.code === 'TUF_FORK') onAttack(error.code, undefined)
    const code = attackIn(error)
    if (code === undefined) return
    const until = clock.monotonic() + SHUN_MS
    this.#followed.get(channel)?.shunned.set(toHex(peer), until)
    onAttack(code, peer)
  }
}

/** The code of what no honest peer sends. */
export function attackIn(error: unknown): string | undefined {
  if (error instanceof TufError) return error.blame === 'attack' ? error.code : undefined
  if (error instanceof UpdateError) return error.code
  return error instanceof WireError && error.code !== 'WIRE_CLOSED' ? error.code : undefined
}

function versionOf(client: ChannelClient): string {
  const { timestamp, root } = client.view()?.roles ?? {}
  return `${timestamp?.version} ${timestamp?.expiresMs} ${root?.version} ${client.complete()}`
}
