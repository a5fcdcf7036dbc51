/**
 * The channels that this device signs for, with the keys that it has: takes what was signed with the
 * others, lists it, and keeps what must not grow old young.
 */
import { join } from 'node:path'

import type { Logger } from 'pino'

import type { Clock } from '../../env.ts'
import { asError } from '../../errors.ts'
import type { Channels } from './channels.ts'
import {
  acceptRoot,
  acceptTargets,
  catchUp,
  folderSource,
  openOnlineKeys,
  readRepository,
  renewChannel,
  TufError,
  type OnlineKeys,
} from './tuf/index.ts'

export interface PublisherDeps {
  /** A folder for each channel in it. */
  readonly repositories: string
  readonly online: string
  readonly channels: Channels
  readonly clock: Clock
  readonly log: Logger
  /** How long the newest word of a channel holds, where owners say so. */
  readonly timestampDays: (channel: string) => number | undefined
}

export interface Publisher {
  /** @throws TufError */
  targets(
    channel: string,
    change: { readonly draft: Uint8Array; readonly indexes: readonly Uint8Array[] },
  ): Promise<void>
  /** @throws TufError */
  root(
    channel: string,
    change: { readonly draft: Uint8Array; readonly targets?: Uint8Array | undefined },
  ): Promise<void>
  signsFor(channel: string): Promise<boolean>
  /** Sign what has grown old, and take it up: at once, then every hour. */
  renew(): Promise<void>
}

const RENEW_MS = 60 * 60 * 1000

/** Hourly renewal is set up when this returns; ends with `signal`. */
export function startPublisher(deps: PublisherDeps, signal: AbortSignal): Publisher {
  const publisher = new ChannelPublisher(deps, signal)
  publisher.renewLater()
  return publisher
}

class ChannelPublisher implements Publisher {
  readonly #deps: PublisherDeps
  readonly #signal: AbortSignal
  #last: Promise<unknown> = Promise.resolve()

  constructor(deps: PublisherDeps, signal: AbortSignal) {
    this.#deps = deps
    this.#signal = signal
  }

  signsFor(channel: string): Promise<boolean> {
    return this.#alone(async () => {
      await this.#catchUp(channel)
      return this.#signs(channel)
    })
  }

  async #signs(channel: string): Promise<boolean> {
    try {
      await this.#keysOf(channel)
      return true
    } catch (error) {
      if (error instanceof TufError) return false
      throw error
    }
  }

  targets(
    channel: string,
    { draft, indexes }: { readonly draft: Uint8Array; readonly indexes: readonly Uint8Array[] },
  ): Promise<void> {
    return this.#alone(async () => {
      await this.#catchUp(channel)
      const online = await this.#keysOf(channel)
      const nowMs = this.#deps.clock.now()
      const bring = (sha256: string): Promise<Uint8Array | undefined> =>
        this.#bring(channel, sha256)
      const folder = this.#folderOf(channel)
      await acceptTargets({ folder, draft, indexes, bring, online, nowMs })
      await this.#takeUp(channel)
    })
  }

  root(
    channel: string,
    { draft, targets }: { readonly draft: Uint8Array; readonly targets?: Uint8Array | undefined },
  ): Promise<void> {
    return this.#alone(async () => {
      await this.#catchUp(channel)
      const online = await openOnlineKeys(this.#deps.online, draft)
      const nowMs = this.#deps.clock.now()
      const folder = this.#folderOf(channel)
      await acceptRoot({ folder, draft, online, nowMs, ...(targets && { targets }) })
      await this.#takeUp(channel)
    })
  }

  async renew(): Promise<void> {
    const { channels, log } = this.#deps
    for (const channel of channels.names()) {
      try {
        await this.#alone(() => this.#renewOne(channel))
      } catch (error) {
        const { message: why } = asError(error)
        if (!this.#signal.aborted) log.warn({ channel, why }, 'a channel could not be renewed')
      }
    }
  }

  renewLater(): void {
    const cancel = this.#deps.clock.timer(RENEW_MS, () => {
      void this.renew()
      if (!this.#signal.aborted) this.renewLater()
    })
    this.#signal.addEventListener('abort', cancel, { once: true })
  }

  async #renewOne(channel: string): Promise<void> {
    await this.#catchUp(channel)
    if (!(await this.#signs(channel))) return
    const days = this.#deps.timestampDays(channel)
    await renewChannel({
      folder: this.#folderOf(channel),
      online: await this.#keysOf(channel),
      nowMs: this.#deps.clock.now(),
      ...(days === undefined ? {} : { timestampDays: days }),
    })
    await this.#takeUp(channel)
  }

  async #takeUp(channel: string): Promise<void> {
    const source = folderSource(this.#folderOf(channel))
    await this.#deps.channels.takeFrom(channel, source, this.#signal)
  }

  /** Others may have signed since; and a device that was given keys begins with what it knows. */
  async #catchUp(channel: string): Promise<void> {
    const client = this.#deps.channels.client(channel)
    const view = client?.view()
    if (client === undefined || view === undefined) return
    const root = await client.file(`${view.roles.root?.version}.root.json`)
    if (root === undefined || view.roles.timestamp?.version !== client.complete()) return
    const isOurs = await openOnlineKeys(this.#deps.online, root).then(
      () => true,
      (error: unknown) => {
        if (error instanceof TufError) return false
        throw error
      },
    )
    if (isOurs) await catchUp(this.#folderOf(channel), view, (name) => client.file(name))
  }

  /** An index from neighbours: what another device published is not all here. */
  async #bring(channel: string, sha256: string): Promise<Uint8Array | undefined> {
    const { channels } = this.#deps
    const release = channels.view(channel)?.releases.find((one) => one.sha256 === sha256)
    if (release === undefined) return undefined
    return (await channels.index(channel, release, this.#signal))?.bytes
  }

  async #keysOf(channel: string): Promise<OnlineKeys> {
    const { root } = await readRepository(this.#folderOf(channel))
    return openOnlineKeys(this.#deps.online, root)
  }

  #folderOf(channel: string): string {
    return join(this.#deps.repositories, channel)
  }

  /** One change at a time. */
  #alone<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#last.then(run, run)
    this.#last = result.catch(() => undefined)
    return result
  }
}
