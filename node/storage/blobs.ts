/**
 * Chunks of releases, by the hash of what is in them: one file each, in the form in which it is sent.
 * Bounded in bytes: the least recently used go first, but for those that a release has pinned. Two
 * processes may use one folder; each knows what the other put there after `refresh`.
 *
 * It is a cache. Anything in it can be fetched again, so damage is noticed and not mended, and a
 * chunk that a power cut took is only one more that is missing.
 */
import { statfs } from 'node:fs/promises'
import { join } from 'node:path'

import type { Clock } from '../../protocols/env.ts'
import { toHex } from '../../protocols/wire/index.ts'
import { BlobError, isDiskFull, refuse } from './blob-errors.ts'
import {
  blobFileOf,
  prepareFolders,
  readBlob,
  removeBlob,
  scanFiles,
  syncBlobs,
  touchBlob,
  writeBlob,
  type BlobFile,
} from './blob-files.ts'
import { openPins, type BlobPins } from './blob-pins.ts'
import { rawOf, type Blob, type BlobName } from './chunk-form.ts'

export type { Blob, BlobName } from './chunk-form.ts'
export { CHUNK_WINDOW_LOG, rawOf } from './chunk-form.ts'

export interface BlobUsage {
  readonly blobs: number
  readonly bytes: number
  /** Bytes that a pin keeps. */
  readonly pinnedBytes: number
  readonly maxBytes: number
}

export interface BlobStore extends AsyncDisposable {
  /** Whether it is there, as far as is known without reading it. */
  has(hash: Uint8Array): boolean
  /**
   * Its stored form; undefined where it is missing. A damaged one is deleted, and missing.
   *
   * @throws BlobError BLOBS_IO
   */
  get(hash: Uint8Array): Promise<Blob | undefined>
  /**
   * Keep a chunk. It can be had and survives the end of the process once this resolves, and a power
   * cut once `flush` has. `verified`: the caller has just made or checked it.
   *
   * @throws UpdateError UPDATE_WRONG_CHUNK; BlobError BLOBS_FULL, BLOBS_DISK_FULL, BLOBS_IO
   */
  put(chunk: BlobName, blob: Blob, options?: { readonly verified?: boolean }): Promise<void>
  /** @throws BlobError BLOBS_IO */
  delete(hash: Uint8Array): Promise<void>
  /** All that was put so far survives a power cut. @throws BlobError BLOBS_DISK_FULL, BLOBS_IO */
  flush(): Promise<void>
  /**
   * Keep these, present or to come, until `unpin(release)`. Replaces an earlier pin of that release,
   * 32 bytes.
   *
   * @throws BlobError BLOBS_DISK_FULL, BLOBS_IO
   */
  pin(release: Uint8Array, hashes: Iterable<Uint8Array>): Promise<void>
  /** @throws BlobError BLOBS_IO */
  unpin(release: Uint8Array): Promise<void>
  /** The releases that are pinned. */
  pins(): readonly Uint8Array[]
  usage(): BlobUsage
  /** See what other processes put, deleted and pinned. @throws BlobError BLOBS_IO */
  refresh(): Promise<void>
  /** Called with the hash of each blob that went without `delete`. Ends with the returned function. */
  onGone(listener: (hash: Uint8Array, why: GoneWhy) => void): () => void
}

export type GoneWhy = 'damaged' | 'room' | 'elsewhere'

export interface BlobOptions {
  /** Made where it is missing, mode 0700. */
  readonly folder: string
  readonly maxBytes: number
  /** What others keep free on this disk; 0 where it is not given. */
  readonly minFreeBytes?: number
  readonly clock: Pick<Clock, 'now'>
}

/** How much may wait to be synced before that is done without being asked. */
const FLUSH_BYTES = 16 * 1024 * 1024
/** How old the note of a use may be. */
const TOUCH_MS = 60 * 60 * 1000

interface Entry extends BlobFile {
  usedMs: number
}

/** @throws NodeError NODE_DENIED; BlobError BLOBS_IO, BLOBS_DISK_FULL */
export async function openBlobs(options: BlobOptions): Promise<BlobStore> {
  await prepareFolders(options.folder).catch(refuse)
  const store = new FileBlobs(options, await openPins(join(options.folder, 'pins')).catch(refuse))
  await store.refresh()
  return store
}

class FileBlobs implements BlobStore {
  readonly #root: string
  readonly #maxBytes: number
  readonly #minFreeBytes: number
  readonly #clock: Pick<Clock, 'now'>
  readonly #pins: BlobPins
  /** By hash; the least recently used first. */
  readonly #entries = new Map<string, Entry>()
  /** Puts that are not done, by hash. */
  readonly #writing = new Map<string, Promise<void>>()
  /** Those of them whose bytes are counted already. */
  readonly #reserved = new Set<Promise<void>>()
  readonly #listeners = new Set<(hash: Uint8Array, why: GoneWhy) => void>()
  #dirty: Entry[] = []
  #dirtyBytes = 0
  #flushing: Promise<void> = Promise.resolve()
  /** Of all entries, and of those that are being written. */
  #bytes = 0
  /** What may be written before the disk is asked again how much room it has. */
  #roomBytes = 0

  constructor({ folder, maxBytes, minFreeBytes = 0, clock }: BlobOptions, pins: BlobPins) {
    this.#root = folder
    this.#maxBytes = maxBytes
    this.#minFreeBytes = minFreeBytes
    this.#clock = clock
    this.#pins = pins
  }

  has(hash: Uint8Array): boolean {
    return this.#entries.has(toHex(hash))
  }

  async get(hash: Uint8Array): Promise<Blob | undefined> {
    const entry = this.#entries.get(toHex(hash))
    if (entry === undefined) return undefined
    const blob = await readBlob(this.#root, entry).catch(refuse)
    if (this.#entries.get(entry.hex) !== entry) return blob
    if (blob === undefined) {
      await this.#remove(entry)
      this.#tell(entry, 'damaged')
      return undefined
    }
    await this.#used(entry)
    return blob
  }

  async put(
    chunk: BlobName,
    blob: Blob,
    options: { readonly verified?: boolean } = {},
  ): Promise<void> {
    if (options.verified !== true) rawOf(chunk, blob)
    const hex = toHex(chunk.hash)
    const entry = this.#entries.get(hex)
    if (entry !== undefined) return this.#used(entry)
    const before = this.#writing.get(hex)
    if (before !== undefined) return before
    const writing = this.#write(hex, blob).finally(() => this.#writing.delete(hex))
    this.#writing.set(hex, writing)
    await writing
    if (this.#dirtyBytes >= FLUSH_BYTES) await this.flush()
  }

  async delete(hash: Uint8Array): Promise<void> {
    const entry = this.#entries.get(toHex(hash))
    if (entry !== undefined) await this.#remove(entry).catch(refuse)
  }

  flush(): Promise<void> {
    const files = this.#dirty
    this.#dirty = []
    this.#dirtyBytes = 0
    const work = this.#flushing.then(() => syncBlobs(this.#root, files)).catch(refuse)
    // The next one is not to fail for what was wrong with this one.
    this.#flushing = work.catch(() => undefined)
    return work
  }

  async pin(release: Uint8Array, hashes: Iterable<Uint8Array>): Promise<void> {
    await this.#pins.set(toHex(release), Array.from(hashes, toHex)).catch(refuse)
  }

  async unpin(release: Uint8Array): Promise<void> {
    await this.#pins.remove(toHex(release)).catch(refuse)
  }

  pins(): readonly Uint8Array[] {
    return this.#pins.releases().map((hex) => Uint8Array.from(Buffer.from(hex, 'hex')))
  }

  usage(): BlobUsage {
    let pinnedBytes = 0
    for (const { hex, length } of this.#entries.values()) {
      if (this.#pins.isPinned(hex)) pinnedBytes += length
    }
    const blobs = this.#entries.size
    return { blobs, bytes: this.#bytes, pinnedBytes, maxBytes: this.#maxBytes }
  }

  async refresh(): Promise<void> {
    await this.#pins.load().catch(refuse)
    const before = new Set(this.#entries.values())
    const found = await scanFiles(this.#root).catch(refuse)
    for (const file of found.toSorted((a, b) => a.usedMs - b.usedMs)) {
      const known = this.#entries.get(file.hex)
      if (known === undefined) {
        if (!this.#writing.has(file.hex)) this.#add({ ...file })
      } else if (known.crc === file.crc && known.codec === file.codec) before.delete(known)
      // One chunk in two forms, by two processes.
      else await removeBlob(this.#root, file).catch(refuse)
    }
    for (const entry of before) {
      // Gone by another hand, unless it went by this one meanwhile.
      if (this.#entries.get(entry.hex) !== entry) continue
      await this.#remove(entry).catch(refuse)
      this.#tell(entry, 'elsewhere')
    }
    while (this.#bytes > this.#maxBytes && (await this.#letOneGo()));
  }

  onGone(listener: (hash: Uint8Array, why: GoneWhy) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#writing.values())
    await this.flush()
  }

  async #write(hex: string, blob: Blob): Promise<void> {
    const file = blobFileOf(hex, blob)
    await this.#reserve(file.length)
    const work = this.#writeFile(file, blob.bytes)
    this.#reserved.add(work)
    await work.finally(() => {
      this.#reserved.delete(work)
      this.#bytes -= file.length
    })
    const entry = { ...file, usedMs: this.#clock.now() }
    this.#add(entry)
    this.#dirty.push(entry)
    this.#dirtyBytes += entry.length
  }

  /** Have `length` bytes under the bound counted as taken. @throws BlobError BLOBS_FULL */
  async #reserve(length: number): Promise<void> {
    while (this.#bytes + length > this.#maxBytes) {
      if (await this.#letOneGo()) continue
      if (this.#reserved.size === 0) throw new BlobError('BLOBS_FULL')
      // What is written now can go then.
      await Promise.race(this.#reserved).catch(() => undefined)
    }
    this.#bytes += length
  }

  async #writeFile(file: BlobFile, bytes: Uint8Array): Promise<void> {
    await this.#requireRoom(file.length)
    while (!(await this.#writeOnce(file, bytes))) {
      if (!(await this.#letOneGo())) throw new BlobError('BLOBS_DISK_FULL')
    }
  }

  /** False where the disk is full. */
  async #writeOnce(file: BlobFile, bytes: Uint8Array): Promise<boolean> {
    try {
      await writeBlob(this.#root, file, bytes)
      return true
    } catch (error) {
      if (isDiskFull(error)) return false
      return refuse(error)
    }
  }

  /** What others keep free stays free. */
  async #requireRoom(length: number): Promise<void> {
    if (this.#minFreeBytes === 0) return
    while (this.#roomBytes < length) {
      const { bavail, bsize } = await statfs(this.#root).catch(refuse)
      const room = bavail * bsize - this.#minFreeBytes
      if (room >= length) this.#roomBytes = Math.max(length, room / 2)
      else if (!(await this.#letOneGo())) throw new BlobError('BLOBS_DISK_FULL')
    }
    this.#roomBytes -= length
  }

  /** Delete the one that was not used for longest. False where only pinned ones are left. */
  async #letOneGo(): Promise<boolean> {
    let left = this.#entries.size
    for (const entry of this.#entries.values()) {
      if (left-- === 0) return false
      if (this.#pins.isPinned(entry.hex)) {
        // To the end, so that the next search does not pass it again.
        this.#entries.delete(entry.hex)
        this.#entries.set(entry.hex, entry)
        continue
      }
      await this.#remove(entry).catch(refuse)
      this.#tell(entry, 'room')
      return true
    }
    return false
  }

  #add(entry: Entry): void {
    this.#entries.set(entry.hex, entry)
    this.#bytes += entry.length
  }

  async #remove(entry: Entry): Promise<void> {
    if (this.#entries.get(entry.hex) !== entry) return
    this.#entries.delete(entry.hex)
    this.#bytes -= entry.length
    await removeBlob(this.#root, entry)
  }

  async #used(entry: Entry): Promise<void> {
    if (!this.#entries.delete(entry.hex)) return
    this.#entries.set(entry.hex, entry)
    const nowMs = this.#clock.now()
    if (Math.abs(nowMs - entry.usedMs) < TOUCH_MS) return
    entry.usedMs = nowMs
    await touchBlob(this.#root, entry, nowMs)
  }

  #tell({ hex }: Entry, why: GoneWhy): void {
    const hash = Uint8Array.from(Buffer.from(hex, 'hex'))
    for (const listener of this.#listeners) listener(hash, why)
  }
}
