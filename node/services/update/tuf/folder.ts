/**
 * Reading a folder that someone else may have made: a stick, a share. Only files whose names we made
 * ourselves are opened, nothing is listed, no link is followed, no pipe waited for, nothing longer
 * than it may be is read.
 */
import { constants } from 'node:fs'
import { lstat, mkdir, open, realpath } from 'node:fs/promises'
import { join, sep } from 'node:path'

import { writeFileAtomic } from '../../../storage/files.ts'
import { TufError } from './errors.ts'

/**
 * The file's bytes; undefined where there is none.
 *
 * @throws TufError TUF_FOLDER for what is no plain file, TUF_TOO_LONG
 */
export async function readBounded(path: string, maxBytes: number): Promise<Uint8Array | undefined> {
  let file
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw new TufError('TUF_FOLDER', path, code === 'ELOOP' ? 'a link' : code, { cause })
  }
  await using opened = file
  const stat = await opened.stat()
  if (!stat.isFile()) throw new TufError('TUF_FOLDER', path, 'not a plain file')
  if (stat.size > maxBytes) throw new TufError('TUF_TOO_LONG', path)
  // One byte more than it had: a file that grows while it is read is noticed.
  const buffer = new Uint8Array(stat.size + 1)
  let length = 0
  for (;;) {
    const { bytesRead } = await opened.read(buffer, length, buffer.length - length, length)
    if (bytesRead === 0) break
    length += bytesRead
    if (length > stat.size) throw new TufError('TUF_FOLDER', path, 'it changes while it is read')
  }
  return buffer.slice(0, length)
}

/** A file inside `folder`, which no link on the way may leave. `parts` are names, never paths. */
export async function readInside(
  folder: string,
  parts: readonly string[],
  maxBytes: number,
): Promise<Uint8Array | undefined> {
  requireNames(folder, parts)
  const path = join(folder, ...parts)
  const above = await realpath(join(path, '..')).catch(() => undefined)
  if (above === undefined) return undefined
  const root = await realpath(folder)
  if (above !== root && !above.startsWith(root.endsWith(sep) ? root : root + sep)) {
    throw new TufError('TUF_FOLDER', path, 'a link that leads out')
  }
  return readBounded(path, maxBytes)
}

/** Write a file inside `folder`, whole or not at all; no link on the way may lead out. */
export async function writeInside(
  folder: string,
  parts: readonly string[],
  bytes: Uint8Array,
): Promise<void> {
  requireNames(folder, parts)
  const path = join(folder, ...parts)
  // One at a time: a recursive mkdir would follow a link and make folders beyond it.
  for (let i = 1; i < parts.length; i++) {
    const above = join(folder, ...parts.slice(0, i))
    await mkdir(above, { mode: 0o755 }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
    if (!(await lstat(above)).isDirectory()) {
      throw new TufError('TUF_FOLDER', above, 'not a folder')
    }
  }
  await writeFileAtomic(path, bytes, 0o644)
}

function requireNames(folder: string, parts: readonly string[]): void {
  for (const part of parts) {
    if (part === '' || part.startsWith('.') || /[/\\\0]/.test(part)) {
      throw new TufError('TUF_FOLDER', folder, 'a name that cannot be')
    }
  }
}

/** Where a file of a channel is in its folder: metadata, and indexes under the name of their release. */
export function placeOf(file: string): readonly string[] {
  const parts = file.split('/')
  return parts.length === 1 ? ['metadata', file] : ['targets', ...parts]
}

/** A folder as a source of a channel's files. */
export function folderSource(folder: string) {
  return async (
    _channel: string,
    file: string,
    maxBytes: number,
  ): Promise<Uint8Array | undefined> => readInside(folder, placeOf(file), maxBytes)
}
