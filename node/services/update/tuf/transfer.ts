/**
 * A channel in a folder that a person carries: metadata, indexes, chunks. Writing goes from the chunks
 * up to the timestamp, so a stick that was pulled out holds an older channel, never half a new one.
 * What is read is believed no more than what a peer sends: the same client verifies it, chunks are
 * checked by hash, and only names that follow from what is signed are opened.
 */
import { mkdir, readdir } from 'node:fs/promises'

import {
  BOUNDS,
  CHANNEL,
  CODECS,
  openIndex,
  type IndexChunk,
} from '../../../../protocols/update/index.ts'
import { toHex } from '../../../../protocols/wire/index.ts'
import type { Blob, BlobName } from '../../../storage/blobs.ts'
import type { ChannelClient } from './client.ts'
import { TufError } from './errors.ts'
import { folderSource, placeOf, readInside, writeInside } from './folder.ts'
import { indexFile, type ChannelView, type Release } from './listing.ts'

/** The part of the blob store that is used here. */
export interface Chunks {
  has(hash: Uint8Array): boolean
  get(hash: Uint8Array): Promise<Blob | undefined>
  put(chunk: BlobName, blob: Blob): Promise<void>
}

export interface Transferred {
  readonly view: ChannelView
  readonly releases: number
  /** Chunks that travelled, and their bytes. */
  readonly chunks: number
  readonly bytes: number
  /** Chunks that were not there, or were not what their name says. */
  readonly missing: number
}

export interface TransferOptions {
  readonly folder: string
  readonly client: ChannelClient
  readonly chunks: Chunks
  /** All that are listed and not in conflict, where it is not given. */
  readonly wanted?: (release: Release) => boolean
  /** At most so many bytes of chunks; 64 GiB where it is not given. */
  readonly maxBytes?: number
  readonly onProgress?: (done: { readonly bytes: number; readonly chunks: number }) => void
}

const MARK = 'channel.json'
const KIND = 'kith-channel'
const MAX_MARK_BYTES = 1_024
const MAX_BYTES = 64 * 1024 * 1024 * 1024

/** The name and the pin of the channel in a folder, believed by nobody yet. @throws TufError TUF_FOLDER */
export async function readMark(folder: string): Promise<{ channel: string; pin: string }> {
  const bytes = await readInside(folder, [MARK], MAX_MARK_BYTES)
  if (bytes === undefined) throw new TufError('TUF_FOLDER', folder, 'no channel is in it')
  let said: unknown
  try {
    said = JSON.parse(new TextDecoder().decode(bytes))
  } catch (cause) {
    throw new TufError('TUF_FOLDER', folder, MARK, { cause })
  }
  const { kind, v, channel, pin } = (said ?? {}) as Readonly<Record<string, unknown>>
  const fits =
    kind === KIND &&
    v === 1 &&
    typeof channel === 'string' &&
    CHANNEL.test(channel) &&
    typeof pin === 'string' &&
    /^[0-9a-f]{64}$/.test(pin)
  if (!fits) throw new TufError('TUF_FOLDER', folder, MARK)
  return { channel, pin }
}

/**
 * Write the channel to an empty folder, or over an earlier export of it.
 *
 * @throws TufError TUF_FOLDER, TUF_TOO_LONG, TUF_MISSING where nothing is known of the channel
 */
export async function exportChannel(
  options: TransferOptions,
  signal: AbortSignal,
): Promise<Transferred> {
  const { folder, client } = options
  const view = client.view()
  if (view === undefined) throw new TufError('TUF_MISSING', client.channel)
  await mkdir(folder, { recursive: true })
  await requireOurs(folder, view)
  const done = { chunks: 0, bytes: 0, missing: 0 }
  const releases = chosen(view, options)
  for (const release of releases) {
    const index = await client.index(release, undefined, signal)
    for (const chunk of uniqueChunks(index)) {
      signal.throwIfAborted()
      await exportChunk(chunk, options, done)
    }
    await writeInside(folder, placeOf(indexFile(release)), index)
  }
  const mark = { kind: KIND, v: 1, channel: view.channel, pin: view.pin }
  await writeInside(folder, [MARK], new TextEncoder().encode(`${JSON.stringify(mark)}\n`))
  await writeMetadata(folder, view, client)
  return { view, releases: releases.length, ...done }
}

async function requireOurs(folder: string, view: ChannelView): Promise<void> {
  if ((await readdir(folder)).length === 0) return
  const { channel, pin } = await readMark(folder)
  if (channel !== view.channel || pin !== view.pin) {
    throw new TufError('TUF_FOLDER', folder, `the channel ${channel} is in it`)
  }
}

async function exportChunk(
  chunk: IndexChunk,
  options: TransferOptions,
  done: Tally,
): Promise<void> {
  const { folder, chunks } = options
  const place = chunkPlace(chunk)
  const max = maxStored(chunk)
  if ((await readInside(folder, place, max)) !== undefined) return
  const blob = await chunks.get(chunk.hash)
  if (blob === undefined) {
    done.missing++
    return
  }
  count(done, blob.bytes.length, options)
  await writeInside(folder, place, new Uint8Array([blob.codec, ...blob.bytes]))
}

/** Old to new, the timestamp last. */
async function writeMetadata(folder: string, { roles }: ChannelView, client: ChannelClient) {
  const roots = Array.from({ length: roles.root?.version ?? 0 }, (_, i) => `${i + 1}.root.json`)
  const rest = (['targets', 'snapshot'] as const).flatMap((role) => {
    const state = roles[role]
    return state === undefined ? [] : [`${state.version}.${role}.json`]
  })
  for (const name of [...roots, ...rest, 'timestamp.json']) {
    const bytes = await client.file(name)
    if (bytes !== undefined) await writeInside(folder, placeOf(name), bytes)
  }
}

/**
 * Verify the channel in a folder and take what is new. A chunk that is missing or damaged is left for
 * peers to bring.
 *
 * @throws TufError as `ChannelClient.refresh` does, TUF_FOLDER, TUF_PIN, TUF_TOO_LONG; UpdateError for
 *   an index; BlobError
 */
export async function importChannel(
  options: TransferOptions,
  signal: AbortSignal,
): Promise<Transferred> {
  const { folder, client, chunks } = options
  const mark = await readMark(folder)
  if (mark.channel !== client.channel) {
    throw new TufError('TUF_FOLDER', folder, `the channel ${mark.channel} is in it`)
  }
  const source = folderSource(folder)
  const view = await client.refresh(source, signal)
  const done = { chunks: 0, bytes: 0, missing: 0 }
  let releases = 0
  for (const release of chosen(view, options)) {
    const index = await client.index(release, source, signal).catch((error: unknown) => {
      if (error instanceof TufError && error.code === 'TUF_MISSING') return undefined
      throw error
    })
    if (index === undefined) continue
    releases++
    for (const chunk of uniqueChunks(index)) {
      signal.throwIfAborted()
      if (!chunks.has(chunk.hash)) await importChunk(chunk, options, done)
    }
  }
  return { view, releases, ...done }
}

async function importChunk(
  chunk: IndexChunk,
  options: TransferOptions,
  done: Tally,
): Promise<void> {
  const { folder, chunks } = options
  const file = await readInside(folder, chunkPlace(chunk), maxStored(chunk))
  const codec = Object.values(CODECS).find((one) => one === file?.[0])
  if (file === undefined || codec === undefined) {
    done.missing++
    return
  }
  try {
    await chunks.put(chunk, { codec, bytes: file.slice(1) })
    count(done, file.length - 1, options)
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'UPDATE_WRONG_CHUNK') throw error
    done.missing++
  }
}

interface Tally {
  chunks: number
  bytes: number
  missing: number
}

function count(
  done: Tally,
  bytes: number,
  { folder, maxBytes = MAX_BYTES, onProgress }: TransferOptions,
): void {
  done.chunks++
  done.bytes += bytes
  if (done.bytes > maxBytes) throw new TufError('TUF_TOO_LONG', folder)
  onProgress?.({ bytes: done.bytes, chunks: done.chunks })
}

function chosen(view: ChannelView, { wanted = () => true }: TransferOptions): readonly Release[] {
  return view.releases.filter((release) => !release.conflict && wanted(release))
}

function uniqueChunks(index: Uint8Array): Iterable<IndexChunk> {
  return new Map(openIndex(index).chunks.map((chunk) => [toHex(chunk.hash), chunk])).values()
}

function chunkPlace({ hash }: BlobName): readonly string[] {
  const hex = toHex(hash)
  return ['chunks', hex.slice(0, 2), hex]
}

/** One byte says how it is packed. */
function maxStored({ raw }: BlobName): number {
  return raw + BOUNDS.maxStoredExtra + 1
}
