/** One fetch of one release: what it needs, how far it is, and whom it had it from. */
import { hasBit } from '../../../protocols/update/index.ts'
import type { Clock } from '../../env.ts'
import { asError } from '../../errors.ts'
import type { ExchangeDeps, FetchProgress, FetchResult } from './exchange.ts'
import type { Link } from './peers.ts'
import type { Release } from './release.ts'

/** Progress is told this often, and at the end. */
const TELL_EVERY_MS = 200

interface FetchParts {
  readonly clock: Clock
  readonly blobs: Pick<ExchangeDeps['blobs'], 'flush' | 'has'>
  readonly needs: Uint8Array
}

export async function runFetch(
  release: Release,
  parts: FetchParts,
  signal: AbortSignal,
  told: { readonly onProgress?: (progress: FetchProgress) => void },
): Promise<FetchResult> {
  const { blobs, clock, needs } = parts
  const count = countOf(release, needs)
  const from = new Map<string, { peer: Uint8Array; bytes: number }>()
  let [fetchedBytes, wastedBytes, toldMs] = [0, 0, -Infinity]
  const reused = count.done
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  promise.catch(() => undefined)
  const aborted = (): void => reject(asError(signal.reason))
  signal.addEventListener('abort', aborted, { once: true })

  function tell(last: boolean): void {
    const nowMs = clock.monotonic()
    if (!last && nowMs - toldMs < TELL_EVERY_MS) return
    toldMs = nowMs
    told.onProgress?.({ ...count, peers: release.peers })
  }

  function kept(n: number, link: Link | undefined, bytes: number): void {
    fetchedBytes += bytes
    if (hasBit(needs, n)) {
      count.done++
      count.doneBytes += release.opened.chunks[n]?.stored ?? 0
    }
    if (link !== undefined) {
      const source = from.get(link.name) ?? { peer: link.key, bytes: 0 }
      source.bytes += bytes
      from.set(link.name, source)
    }
    tell(false)
  }

  try {
    tell(false)
    if (count.done < count.chunks) {
      release.need(needs, {
        onKept: kept,
        onWasted: (bytes) => {
          wastedBytes += bytes
          fetchedBytes += bytes
        },
        onDone: resolve,
        onFailed: reject,
      })
      await promise
    }
    await blobs.flush()
    tell(true)
    return { from: [...from.values()], fetchedBytes, wastedBytes, reused }
  } finally {
    signal.removeEventListener('abort', aborted)
    release.need(new Uint8Array(needs.length), undefined)
  }
}

type Count = { -readonly [K in 'chunks' | 'done' | 'bytes' | 'doneBytes']: number }

function countOf({ opened, swarm }: Release, needs: Uint8Array): Count {
  const count: Count = { chunks: 0, done: 0, bytes: 0, doneBytes: 0 }
  for (const [n, { stored }] of opened.chunks.entries()) {
    if (!hasBit(needs, n)) continue
    count.chunks++
    count.bytes += stored
    if (!hasBit(swarm.have, n)) continue
    count.done++
    count.doneBytes += stored
  }
  return count
}
