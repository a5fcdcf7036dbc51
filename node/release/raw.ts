/** Bytes of a release, or of what will become one, readable at any place. */
import { constants, type BigIntStats } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'

import { ReleaseError } from './errors.ts'

export interface RawBytes extends AsyncDisposable {
  readonly size: number
  /**
   * `length` bytes from `at`, fewer only at the end; in `into`, where that is given and it must be as
   * long. One call at a time.
   *
   * @throws ReleaseError RELEASE_CHANGED
   */
  read(at: number, length: number, into?: Uint8Array): Promise<Uint8Array>
}

/** How much is read at once. */
export const READ_BYTES = 262_144

/** All of it, piece by piece. A piece is good until the next one is taken. */
export async function* piecesOf(raw: RawBytes, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const room = new Uint8Array(READ_BYTES)
  for (let at = 0; at < raw.size; at += READ_BYTES) {
    signal.throwIfAborted()
    yield await raw.read(at, READ_BYTES, room)
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
    async read(at, length, into) {
      const target = roomFor(Math.min(length, size - at), into)
      const bytes = await readAt(file, at, target)
      if (bytes === undefined || (at + length >= size && !(await isAsBefore(file, before)))) {
        throw new ReleaseError('RELEASE_CHANGED', `${path} changed while it was read.`)
      }
      return bytes
    },
    [Symbol.asyncDispose]: () => file.close(),
  }
}

/** Where `length` bytes go: to the beginning of `into`, or into new room. */
export function roomFor(length: number, into?: Uint8Array): Uint8Array {
  return into === undefined
    ? new Uint8Array(Math.max(0, length))
    : into.subarray(0, Math.max(0, length))
}

/** Fills `bytes`; undefined where the file ends before. */
export async function readAt(
  file: FileHandle,
  at: number,
  bytes: Uint8Array,
): Promise<Uint8Array | undefined> {
  for (let done = 0; done < bytes.length;) {
    const { bytesRead } = await file.read(bytes, done, bytes.length - done, at + done)
    if (bytesRead === 0) return undefined
    done += bytesRead
  }
  return bytes
}

export async function isAsBefore(file: FileHandle, before: BigIntStats): Promise<boolean> {
  const { size, mtimeNs, ino } = await file.stat({ bigint: true })
  return size === before.size && mtimeNs === before.mtimeNs && ino === before.ino
}
