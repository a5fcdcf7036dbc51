/** Bytes of a release, or of what will become one, readable at any place. */
import { constants, type BigIntStats } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'

import { ReleaseError } from './errors.ts'

export interface RawBytes extends AsyncDisposable {
  readonly size: number
  /**
   * `length` bytes from `at`, fewer only at the end. One call at a time.
   *
   * @throws ReleaseError RELEASE_CHANGED
   */
  read(at: number, length: number): Promise<Uint8Array>
}

/** How much is read at once. */
export const READ_BYTES = 1_048_576

/** All of it, piece by piece. */
export async function* piecesOf(raw: RawBytes, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < raw.size; at += READ_BYTES) {
    signal.throwIfAborted()
    yield await raw.read(at, READ_BYTES)
  }
}

/**
 * One plain file. `path` is what errors call it.
 *
 * @throws ReleaseError RELEASE_INPUT where it is no plain file
 */
export async function openFile(path: string): Promise<RawBytes> {
  // Without O_NONBLOCK, opening a pipe would wait for its other end.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const stats = await file.stat({ bigint: true })
    if (!stats.isFile()) throw new ReleaseError('RELEASE_INPUT', `${path} is not a plain file.`)
    return fileBytes(file, path, stats)
  } catch (error) {
    await file.close()
    throw error
  }
}

function fileBytes(file: FileHandle, path: string, before: BigIntStats): RawBytes {
  const size = Number(before.size)
  return {
    size,
    async read(at, length) {
      const bytes = await readAt(file, at, Math.max(0, Math.min(length, size - at)))
      if (bytes === undefined || (at + length >= size && !(await isAsBefore(file, before)))) {
        throw new ReleaseError('RELEASE_CHANGED', `${path} changed while it was read.`)
      }
      return bytes
    },
    [Symbol.asyncDispose]: () => file.close(),
  }
}

/** Undefined where the file ends before. */
export async function readAt(
  file: FileHandle,
  at: number,
  length: number,
): Promise<Uint8Array | undefined> {
  const bytes = new Uint8Array(length)
  for (let done = 0; done < length;) {
    const { bytesRead } = await file.read(bytes, done, length - done, at + done)
    if (bytesRead === 0) return undefined
    done += bytesRead
  }
  return bytes
}

export async function isAsBefore(file: FileHandle, before: BigIntStats): Promise<boolean> {
  const { size, mtimeNs, ino } = await file.stat({ bigint: true })
  return size === before.size && mtimeNs === before.mtimeNs && ino === before.ino
}

/** Bytes that are in memory. */
export function bytesInMemory(bytes: Uint8Array): RawBytes {
  return {
    size: bytes.length,
    read: (at, length) => Promise.resolve(bytes.subarray(at, at + length)),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}
