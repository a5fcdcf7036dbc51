/**
 * Follow a channel once, from a folder or over HTTP, with a folder as the only memory: the verifying
 * part of a device on its own, for people who serve a channel and for tests that attack it.
 */
import { systemClock, type Clock } from '../../../env.ts'
import { openChannelClient, type FetchFile } from './client.ts'
import { TufError } from './errors.ts'
import { placeOf } from './folder.ts'
import type { ChannelView, TufTime } from './listing.ts'

export interface RefreshOnce {
  /** Kept between runs; made where it is missing, mode 0700. */
  readonly memory: string
  readonly channel: string
  readonly source: FetchFile
  /** SHA-256 of the first root, 32 bytes. */
  readonly pin: Uint8Array
  readonly clock?: Clock
  readonly time?: () => TufTime
}

/** What the channel offers now, its indexes fetched and verified. @throws TufError */
export async function refreshOnce(options: RefreshOnce, signal: AbortSignal): Promise<ChannelView> {
  const { memory, channel, source, pin, clock = systemClock } = options
  const client = await openChannelClient({
    folder: memory,
    channel,
    pin,
    clock,
    time: options.time ?? (() => ({ nowMs: clock.now(), floorMs: 0, quality: 'unsynced' })),
  })
  const view = await client.refresh(source, signal)
  for (const release of view.releases.filter(({ conflict }) => !conflict)) {
    await client.index(release, source, signal)
  }
  return view
}

/** A channel's folder below a URL. What is not there is undefined; redirects are not followed. */
export function httpSource(url: string): FetchFile {
  const base = url.endsWith('/') ? url : `${url}/`
  return async (_channel, file, _maxBytes, signal) => {
    const path = placeOf(file).map(encodeURIComponent).join('/')
    const response = await fetch(new URL(path, base), { signal, redirect: 'error' })
    if (response.status === 404 || response.status === 403) {
      await response.body?.cancel()
      return undefined
    }
    if (!response.ok || response.body === null) {
      throw new TufError('TUF_UNREACHABLE', file, `HTTP ${response.status}`)
    }
    return response.body
  }
}
