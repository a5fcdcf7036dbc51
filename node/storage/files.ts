/**
 * Files that survive a power cut and that nobody else can read or exchange. A write is whole or not
 * there: temporary file, fsync, rename, fsync of the folder.
 */
import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { chmod, link, lstat, mkdir, open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import process from 'node:process'

import { NodeError } from '../errors.ts'

const GROUP_AND_OTHERS = 0o077
const GROUP_AND_OTHERS_WRITE = 0o022

/** Replace or make the file. `mode` holds whatever the umask is. */
export async function writeFileAtomic(
  path: string,
  bytes: Uint8Array,
  mode = 0o600,
): Promise<void> {
  await withTemporary(path, bytes, mode, (temporary) => rename(temporary, path))
}

/** As `writeFileAtomic`, but an existing file stays. @throws with code EEXIST */
export async function createFileAtomic(
  path: string,
  bytes: Uint8Array,
  mode = 0o600,
): Promise<void> {
  await withTemporary(path, bytes, mode, async (temporary) => {
    // Unlike rename, link never replaces.
    await link(temporary, path)
    await rm(temporary)
  })
}

async function withTemporary(
  path: string,
  bytes: Uint8Array,
  mode: number,
  place: (temporary: string) => Promise<void>,
): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomUUID()}.tmp`)
  try {
    await using file = await open(temporary, 'wx', mode)
    await file.chmod(mode)
    await file.writeFile(bytes)
    await file.sync()
    await place(temporary)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  await syncFolder(dirname(path))
}

/** Make the folder's entries durable. */
export async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY)
  await folder.sync()
}

/**
 * Make the folder, mode 0700, where it is missing; an existing one must belong to this user and not
 * be writable by others, who could exchange its files. @throws NodeError NODE_DENIED
 */
export async function ensurePrivateFolder(path: string): Promise<void> {
  const made = await mkdir(path, { recursive: true, mode: 0o700 })
  if (made !== undefined) await chmod(path, 0o700)
  const { mode, uid } = await lstat(path).then(async (found) =>
    found.isSymbolicLink() ? lstat(`${path}/.`) : found,
  )
  if (uid !== process.getuid?.()) {
    throw new NodeError('NODE_DENIED', `The folder ${path} belongs to another user.`, {
      hint: 'Run Kith as that user, or choose another folder with --data-dir.',
    })
  }
  if ((mode & GROUP_AND_OTHERS_WRITE) !== 0) {
    throw new NodeError('NODE_DENIED', `Others can change the folder ${path}.`, {
      hint: `Close it to them: chmod 700 '${path}'`,
    })
  }
}

/** Why a private file cannot be trusted, and how to mend that; `missing` where there is none. */
export type PrivateFile =
  | { readonly state: 'ok'; readonly bytes: Uint8Array }
  | { readonly state: 'missing' }
  | { readonly state: 'refused'; readonly why: string; readonly hint: string }

/**
 * Read a file that only this user may read or write: no link, no other name for it, mode 0600 or
 * less, at most `maxBytes`. All is checked on the open file, so nothing can change in between.
 */
export async function readPrivateFile(path: string, maxBytes: number): Promise<PrivateFile> {
  let file
  try {
    // Non-blocking, so that a named pipe in the file's place cannot hold the start.
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    return cannotOpen(path, (error as NodeJS.ErrnoException).code)
  }
  await using opened = file
  const { mode, uid, nlink, size } = await opened.stat().then((stat) => ({
    mode: stat.mode,
    uid: stat.uid,
    nlink: stat.nlink,
    size: stat.isFile() ? stat.size : Number.NaN,
  }))
  if (Number.isNaN(size)) return refused('is not a file', `Move ${path} away.`)
  if (uid !== process.getuid?.()) {
    return refused(
      'belongs to another user',
      `Run Kith as its owner, or: chown ${process.getuid?.()} '${path}'`,
    )
  }
  if ((mode & GROUP_AND_OTHERS) !== 0) {
    const octal = (mode & 0o777).toString(8).padStart(4, '0')
    return refused(`can be used by others (mode ${octal})`, `Close it to them: chmod 600 '${path}'`)
  }
  if (nlink !== 1) {
    return refused(
      'has a second name (hard link)',
      `Find and remove it: find / -xdev -samefile '${path}'`,
    )
  }
  if (size > maxBytes) return refused('is longer than it can be', 'Restore it from its only copy.')
  return { state: 'ok', bytes: new Uint8Array(await opened.readFile()) }
}

function cannotOpen(path: string, code: string | undefined): PrivateFile {
  if (code === 'ENOENT') return { state: 'missing' }
  if (code === 'ELOOP') {
    return refused('is a symbolic link', `Put the file itself in its place: '${path}'`)
  }
  return refused(`cannot be opened (${code})`, `Check owner and permissions: ls -l '${path}'`)
}

function refused(why: string, hint: string): PrivateFile {
  return { state: 'refused', why, hint }
}
