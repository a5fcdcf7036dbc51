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

export function startPublisher(deps: PublisherDeps, signal: AbortSignal): Publisher {
  const { repositories, online, channels, clock, log, timestampDays } = deps
  const folderOf = (channel: string): string => join(repositories, channel)
  let last: Promise<unknown> = Promise.resolve()

  /** One change at a time. */
  function alone<T>(run: () => Promise<T>): Promise<T> {
    const result = last.then(run, run)
    last = result.catch(() => undefined)
    return result
  }

  async function takeUp(channel: string): Promise<void> {
    await channels.takeFrom(channel, folderSource(folderOf(channel)), signal)
  }

  async function keysOf(channel: string) {
    const { root } = await readRepository(folderOf(channel))
    return openOnlineKeys(online, root)
  }

  async function signsFor(channel: string): Promise<boolean> {
    try {
      await keysOf(channel)
      return true
    } catch (error) {
      if (error instanceof TufError) return false
      throw error
    }
  }

  async function renewOne(channel: string): Promise<void> {
    if (!(await signsFor(channel))) return
    const days = timestampDays(channel)
    await renewChannel({
      folder: folderOf(channel),
      online: await keysOf(channel),
      nowMs: clock.now(),
      ...(days === undefined ? {} : { timestampDays: days }),
    })
    await takeUp(channel)
  }

  async function renew(): Promise<void> {
    for (const channel of channels.names()) {
      try {
        await alone(() => renewOne(channel))
      } catch (error) {
        const { message: why } = asError(error)
        if (!signal.aborted) log.warn({ channel, why }, 'a channel could not be renewed')
      }
    }
  }

  function renewLater(): void {
    const cancel = clock.timer(RENEW_MS, () => {
      void renew()
      if (!signal.aborted) renewLater()
    })
    signal.addEventListener('abort', cancel, { once: true })
  }

  renewLater()
  return {
    signsFor,
    renew,
    targets: (channel, { draft, indexes }) =>
      alone(async () => {
        await acceptTargets({
          folder: folderOf(channel),
          draft,
          indexes,
          online: await keysOf(channel),
          nowMs: clock.now(),
        })
        await takeUp(channel)
      }),
    root: (channel, draft) =>
      alone(async () => {
        await acceptRoot({
          folder: folderOf(channel),
          draft,
          online: await openOnlineKeys(online, draft),
          nowMs: clock.now(),
        })
        await takeUp(channel)
      }),
  }
}
