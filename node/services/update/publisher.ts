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
  root(channel: string, draft: Uint8Array): Promise<void>
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

  async signsFor(channel: string): Promise<boolean> {
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
      const online = await this.#keysOf(channel)
      const nowMs = this.#deps.clock.now()
      await acceptTargets({ folder: this.#folderOf(channel), draft, indexes, online, nowMs })
      await this.#takeUp(channel)
    })
  }

  root(channel: string, draft: Uint8Array): Promise<void> {
    return this.#alone(async () => {
      const online = await openOnlineKeys(this.#deps.online, draft)
      const nowMs = this.#deps.clock.now()
      await acceptRoot({ folder: this.#folderOf(channel), draft, online, nowMs })
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
    if (!(await this.signsFor(channel))) return
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
