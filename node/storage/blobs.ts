/**
 * Chunks of releases, by the hash of what is in them: one file each, in the form in which it is sent.
 */
import type { Codec } from '../../protocols/update/index.ts'

/** A chunk as it is stored and sent. */
export interface Blob {
  readonly codec: Codec
  readonly bytes: Uint8Array
}

/** What a chunk must be. An `IndexChunk` is one. */
export interface BlobName {
  /** SHA-256 of the chunk before it is packed, 32 bytes. */
  readonly hash: Uint8Array
  /** Its length before it is packed, in bytes. */
  readonly raw: number
}

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
  /** Its stored form; undefined where it is missing. A damaged one is deleted, and missing. */
  get(hash: Uint8Array): Promise<Blob | undefined>
  /**
   * Keep a chunk. It can be had and survives the end of the process once this resolves, and a power
   * cut once `flush` has. `verified`: the caller has just made or checked it.
   *
   * @throws UpdateError UPDATE_WRONG_CHUNK; BlobError BLOBS_FULL, BLOBS_DISK_FULL, BLOBS_IO
   */
  put(chunk: BlobName, blob: Blob, options?: { readonly verified?: boolean }): Promise<void>
  delete(hash: Uint8Array): Promise<void>
  /** All that was put so far survives a power cut. */
  flush(): Promise<void>
  /** Keep these, present or to come, until `unpin(release)`. Replaces an earlier pin of that name. */
  pin(release: Uint8Array, hashes: Iterable<Uint8Array>): Promise<void>
  unpin(release: Uint8Array): Promise<void>
  /** The releases that are pinned. */
  pins(): readonly Uint8Array[]
  usage(): BlobUsage
  /** Called with the hash of each blob that went without `delete`: damaged, or made room. */
  onGone(listener: (hash: Uint8Array, why: 'damaged' | 'room') => void): () => void
}
