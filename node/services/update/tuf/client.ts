/**
 * A channel as one device follows it: fetches its files from wherever it is told to, believes what TUF
 * lets it believe, keeps that before anyone acts on it, and hands it on to others.
 *
 * Not here: which peers are asked, when, and what is done with a release.
 */
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

import type { Clock } from '../../../env.ts'
import { writeFileAtomic } from '../../../storage/files.ts'
import { equalBytes } from '../../../../protocols/wire/index.ts'
import { TufError } from './errors.ts'
import { readBounded } from './folder.ts'
import {
  indexFile,
  referenceMs,
  requireIndex,
  seenAfter,
  viewOf,
  type ChannelView,
  type Release,
  type TufTime,
} from './listing.ts'
import { DAY_MS, openMetadata, readPlain, sha256Hex, TUF_LIMITS } from './metadata.ts'
import { freshTrust, openTrustStore, type Trust, type TrustStore } from './trust-store.ts'
import { follow, isComplete, type Source, type Work } from './verify.ts'

/**
 * A file of a channel as TUF names it, from somewhere: `3.root.json`, `timestamp.json`,
 * `NAME/HASH.VERSION-BUILD.index`. undefined where it is not there. May stop after `maxBytes`; longer
 * answers are cut off here.
 */
export type FetchFile = (
  channel: string,
  file: string,
  maxBytes: number,
  signal: AbortSignal,
) => Promise<Uint8Array | AsyncIterable<Uint8Array> | undefined>

export interface ChannelClientOptions {
  /** Of this channel alone; made where it is missing, mode 0700. */
  readonly folder: string
  readonly channel: string
  /** SHA-256 of the first root, as the home's policy pins it. 32 bytes. */
  readonly pin: Uint8Array
  readonly clock: Clock
  readonly time: () => TufTime
  /** How long one file may take; 30 s where it is not given. */
  readonly deadlineMs?: number
}

export interface ChannelClient {
  readonly channel: string
  /** What is trusted now; undefined before the first refresh. */
  view(): ChannelView | undefined
  /**
   * Ask one source what is new. What was verified is kept on disk before this settles, also where it
   * rejects. Calls run one after the other.
   *
   * @throws TufError; its `blame` says whether the source is at fault
   */
  refresh(fetch: FetchFile, signal: AbortSignal): Promise<ChannelView>
  /** The index of a listed release, verified, from disk or from `fetch`. @throws TufError */
  index(release: Release, fetch: FetchFile | undefined, signal: AbortSignal): Promise<Uint8Array>
  /** A file for others, of what is complete; undefined where it is not had. */
  file(name: string): Promise<Uint8Array | undefined>
  /** Version of the timestamp of what is complete, and so can be handed on; 0 before that. */
  complete(): number
}

const DEADLINE_MS = 30_000
/** Complete sets of files that others are given. */
const SERVED = 2
const INDEX_FOLDER = 'indexes'

/** @throws TufError TUF_STORE, NodeError NODE_DENIED */
export async function openChannelClient(options: ChannelClientOptions): Promise<ChannelClient> {
  const store = await openTrustStore(options.folder, options.channel)
  await mkdir(join(options.folder, INDEX_FOLDER), { recursive: true, mode: 0o700 })
  return new Client(options, { store, trust: await trustOf(store, options) })
}

/** What was kept, unless the owner has pinned another root since: then nothing of it counts. */
async function trustOf(
  store: TrustStore,
  { pin }: ChannelClientOptions,
): Promise<Trust | undefined> {
  const kept = await store.read()
  return kept !== undefined && equalBytes(kept.pin, pin) ? kept : undefined
}

class Client implements ChannelClient {
  readonly channel: string
  readonly #options: ChannelClientOptions
  readonly #store: TrustStore
  #trust: Trust | undefined
  /** What others are given, newest first: a device in the middle of a refresh still asks for the one before. */
  #served: readonly Trust[]
  #last: Promise<unknown> = Promise.resolve()

  constructor(
    options: ChannelClientOptions,
    { store, trust }: { store: TrustStore; trust: Trust | undefined },
  ) {
    this.channel = options.channel
    this.#options = options
    this.#store = store
    this.#trust = trust
    this.#served = trust !== undefined && isComplete(trust) ? [trust] : []
  }

  view(): ChannelView | undefined {
    if (this.#trust === undefined) return undefined
    return viewOf(this.channel, this.#trust, this.#options.time())
  }

  refresh(fetch: FetchFile, signal: AbortSignal): Promise<ChannelView> {
    const run = async (): Promise<ChannelView> => {
      signal.throwIfAborted()
      const source = this.#source(fetch, signal)
      const work: Work = { trust: this.#trust ?? (await this.#begin(source)) }
      try {
        const time = this.#options.time()
        await follow(work, source, (trust) => referenceMs(trust, time))
      } finally {
        await this.#keep(work.trust)
      }
      return viewOf(this.channel, work.trust, this.#options.time())
    }
    const result = this.#last.then(run, run)
    this.#last = result.catch(() => undefined)
    return result
  }

  async index(
    release: Release,
    fetch: FetchFile | undefined,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    const kept = await this.#keptIndex(release)
    if (kept !== undefined) return kept
    const file = indexFile(release)
    const found = await (fetch && this.#source(fetch, signal)(file, release.length))
    if (found === undefined) throw new TufError('TUF_MISSING', release.path)
    requireIndex(release, found)
    await writeFileAtomic(this.#indexPath(release.sha256), found)
    return found
  }

  file(name: string): Promise<Uint8Array | undefined> {
    if (!name.includes('/')) {
      for (const trust of this.#served) {
        const found = metadataIn(trust, name)
        if (found !== undefined) return Promise.resolve(found)
      }
      return Promise.resolve(undefined)
    }
    const release = this.view()?.releases.find((one) => indexFile(one) === name)
    return release === undefined ? Promise.resolve(undefined) : this.#keptIndex(release)
  }

  complete(): number {
    const timestamp = this.#served[0]?.timestamp
    return timestamp === undefined ? 0 : readPlain('timestamp', timestamp).version
  }

  async #keptIndex({ sha256, length }: Release): Promise<Uint8Array | undefined> {
    const kept = await readBounded(this.#indexPath(sha256), length)
    return kept !== undefined && sha256Hex(kept) === sha256 ? kept : undefined
  }

  /** The first root is believed for its hash alone. */
  async #begin(source: Source): Promise<Trust> {
    const { pin } = this.#options
    const root = await source('1.root.json', TUF_LIMITS.root)
    if (root === undefined) throw new TufError('TUF_MISSING', 'root')
    if (sha256Hex(root) !== Buffer.from(pin).toString('hex')) throw new TufError('TUF_PIN', 'root')
    if (openMetadata('root', root).signed.version !== 1) {
      throw new TufError('TUF_PIN', 'root', 'not the first root')
    }
    return freshTrust(pin, root)
  }

  async #keep(trust: Trust): Promise<void> {
    const seenMs = seenAfter(trust, this.#options.time())
    const before = this.#trust
    const same = before !== undefined && sameFiles(before, trust) && seenMs - before.seenMs < DAY_MS
    if (same) return
    const next = { ...trust, seenMs }
    await this.#store.write(next)
    this.#trust = next
    if (isComplete(next)) this.#served = [next, ...this.#served].slice(0, SERVED)
    await this.#forget(before, next)
  }

  /** Indexes that no longer are listed. */
  async #forget(before: Trust | undefined, now: Trust): Promise<void> {
    const gone = before?.witness.seen.filter(({ withdrawn }) => !withdrawn) ?? []
    const listed = new Set(
      now.witness.seen.filter(({ withdrawn }) => !withdrawn).map(({ sha256 }) => sha256),
    )
    for (const { sha256 } of gone) {
      if (!listed.has(sha256)) await rm(this.#indexPath(sha256), { force: true })
    }
  }

  #indexPath(sha256: string): string {
    return join(this.#options.folder, INDEX_FOLDER, sha256)
  }

  #source(fetch: FetchFile, signal: AbortSignal): Source {
    const { channel, clock, deadlineMs = DEADLINE_MS } = this.#options
    return async (file, maxBytes) => {
      const stop = new AbortController()
      const end = clock.timer(deadlineMs, () => stop.abort(new TufError('TUF_UNREACHABLE', file)))
      const both = AbortSignal.any([signal, stop.signal])
      try {
        return await until(both, async () =>
          collect(await fetch(channel, file, maxBytes, both), { file, maxBytes, signal: both }),
        )
      } catch (cause) {
        signal.throwIfAborted()
        if (cause instanceof TufError) throw cause
        throw new TufError('TUF_UNREACHABLE', file, (cause as Error).message, { cause })
      } finally {
        end()
      }
    }
  }
}

/** A file of the channel by its name in TUF; undefined where it is not had. */
function metadataIn(trust: Trust, name: string): Uint8Array | undefined {
  if (name === 'timestamp.json') return trust.timestamp
  const [, digits = '', role = ''] =
    /^([1-9]\d{0,15})\.(root|targets|snapshot)\.json$/.exec(name) ?? []
  const version = Number(digits)
  if (role === 'root') return trust.roots[version - 1]
  if (role !== 'targets' && role !== 'snapshot') return undefined
  const bytes = trust[role]
  const fits = bytes !== undefined && readPlain(role, bytes).version === version
  return fits ? bytes : undefined
}

/** What `run` gives, unless the signal comes first: a source that answers nothing holds nobody. */
async function until<T>(signal: AbortSignal, run: () => Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const stop = (): void => reject(signal.reason as Error)
  signal.addEventListener('abort', stop)
  try {
    signal.throwIfAborted()
    return await Promise.race([run(), promise])
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

async function collect(
  answer: Uint8Array | AsyncIterable<Uint8Array> | undefined,
  { file, maxBytes, signal }: { file: string; maxBytes: number; signal: AbortSignal },
): Promise<Uint8Array | undefined> {
  if (answer === undefined) return undefined
  const parts: Uint8Array[] = []
  let length = 0
  for await (const part of answer instanceof Uint8Array ? [answer] : answer) {
    signal.throwIfAborted()
    length += part.length
    if (length > maxBytes) throw new TufError('TUF_TOO_LONG', file)
    parts.push(part)
  }
  return new Uint8Array(Buffer.concat(parts))
}

function sameFiles(a: Trust, b: Trust): boolean {
  const same = (['timestamp', 'snapshot', 'targets'] as const).every((role) => a[role] === b[role])
  return same && a.roots.length === b.roots.length
}
