/** Files and folders that are on the disk when a step says so. */
import { constants } from 'node:fs'
import { lstat, mkdir, open, readdir, rename, rm, statfs, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'

import { syncFolder } from '../../storage/files.ts'
import { InstallError } from './errors.ts'

/** Kept free beside what a release needs, in bytes. */
const SLACK_BYTES = 1024 * 1024

/**
 * A new file, whole and synced. Its name is safe once its folder is.
 *
 * @throws Error with code EEXIST where anything has this name
 */
export async function writeNew(
  path: string,
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  mode: number,
): Promise<void> {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
  await using file = await open(path, flags, mode)
  await file.chmod(mode)
  for await (const chunk of chunks) await writeAll(file, chunk)
  await file.sync()
}

export async function writeAll(
  file: { write(bytes: Uint8Array, from: number): Promise<{ bytesWritten: number }> },
  bytes: Uint8Array,
): Promise<void> {
  for (let at = 0; at < bytes.length;) at += (await file.write(bytes, at)).bytesWritten
}

/** The link, old or new at any moment, and safe when this resolves. */
export async function replaceLink(path: string, target: string): Promise<void> {
  const temporary = `${path}.new`
  await rm(temporary, { force: true, recursive: true })
  await symlink(target, temporary)
  await rename(temporary, path)
  await syncFolder(dirname(path))
}

/** Gone, and safely so. Whether it was there does not matter. */
export async function removeSafely(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined)
  if (found === undefined) return
  await rm(path, { force: true, recursive: true })
  await syncFolder(dirname(path))
}

/** The folder and those above it, where they are missing; their names are safe too. */
export async function makeFolder(path: string, mode: number): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode })
  if (first === undefined) return
  for (let made = path; ; made = dirname(made)) {
    await syncFolder(dirname(made))
    if (made === first) return
  }
}

/** Remove what is in a folder, but for these names. */
export async function keepOnly(folder: string, names: readonly string[]): Promise<void> {
  for (const name of await namesIn(folder)) {
    if (!names.includes(name)) await removeSafely(join(folder, name))
  }
}

/** Names in a folder; none where there is no folder. */
export async function namesIn(path: string): Promise<string[]> {
  try {
    return (await readdir(path)).toSorted()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/** @throws InstallError INSTALL_NO_SPACE where `bytes` in `files` files do not fit into the folder */
export async function requireSpace(folder: string, bytes: number, files = 1): Promise<void> {
  const { bavail, bsize, files: inodes, ffree } = await statfs(folder)
  const free = bavail * bsize
  // Every file and folder may leave one block half empty.
  const needed = bytes + files * bsize + SLACK_BYTES
  if (needed > free) {
    const mib = (value: number): number => Math.ceil(value / 1024 / 1024)
    throw new InstallError(
      'INSTALL_NO_SPACE',
      `the release needs ${mib(needed)} MiB in ${folder}, where ${Math.floor(free / 1024 / 1024)} MiB are free`,
    )
  }
  // File systems without a table of files say 0.
  if (inodes > 0 && files > ffree) {
    throw new InstallError(
      'INSTALL_NO_SPACE',
      `the release has ${files} files, and ${folder} has room for ${ffree}`,
    )
  }
}

/** Copy a file of ours under a new name, synced; the folder too. */
export async function keepFile(from: string, folder: string, name: string): Promise<string> {
  const target = join(folder, name)
  const temporary = join(folder, `.${name}.part`)
  await removeSafely(temporary)
  try {
    await using source = await open(from, constants.O_RDONLY | constants.O_NOFOLLOW)
    await writeNew(temporary, source.createReadStream({ autoClose: false }), 0o600)
    await rename(temporary, target)
    await syncFolder(folder)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  return target
}
