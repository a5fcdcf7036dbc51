/**
 * A file of a few megabytes that stands for nothing but room. On a full disk even deleting needs
 * some, and so does starting; giving this file up makes it. It is written again when the disk has
 * several times as much to spare.
 */
import { randomBytes } from 'node:crypto'
import { closeSync, existsSync, fsyncSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'

export interface Ballast {
  /** Give the room up. False where it was given up before. */
  release(): boolean
  /** Take the room back where there is plenty. True while it is held. */
  refill(): boolean
  /** The file system has less left than a start needs. */
  scarce(): boolean
}

export const BALLAST_FILE = 'ballast'

/** Twice what waits in the log file of the database before it is moved to its place. */
const BALLAST_BYTES = 8 * 2 ** 20
const CHUNK_BYTES = 64 * 2 ** 10
/** Times the ballast that must be free for it to be taken. */
const PLENTY = 3
/** Below this the database cannot even be opened. */
const SCARCE_BYTES = 512 * 2 ** 10

export function openBallast(path: string, bytes = BALLAST_BYTES): Ballast {
  const freeBytes = (): number => {
    const { bavail, bsize } = statfsSync(dirname(path))
    return bavail * bsize
  }
  const release = (): boolean => {
    if (!existsSync(path)) return false
    rmSync(path, { force: true })
    return true
  }
  return {
    release,
    scarce: () => freeBytes() < SCARCE_BYTES,
    refill() {
      if (existsSync(path)) return true
      if (freeBytes() < PLENTY * bytes) return false
      try {
        write(path, bytes)
        return true
      } catch {
        // Others were faster to take it.
        release()
        return false
      }
    },
  }
}

/** Random bytes, because some file systems would store zeros in no room at all. */
function write(path: string, bytes: number): void {
  const file = openSync(path, 'wx', 0o600)
  try {
    for (let done = 0; done < bytes; done += CHUNK_BYTES) writeSync(file, randomBytes(CHUNK_BYTES))
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}
