/**
 * Archives of folders, read as if an enemy had packed them: a plain tar of files, folders and
 * relative links that stay inside. All of an archive is checked before the first byte of it is
 * written, and checked again while it is.
 *
 * Not here: how such an archive is made, and which names it may hold (`archive-names.ts`).
 */
import { constants, createReadStream } from 'node:fs'
import { mkdir, open, symlink, type FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'

import { Parser, type ReadEntry } from 'tar'

import { syncFolder } from '../../storage/files.ts'
import { badArchive, createNames, quoted, type Item } from './archive-names.ts'
import { writeAll } from './disk.ts'
import type { InstallError } from './errors.ts'

export interface ArchiveLimits {
  /** Files, folders and links. */
  readonly entries: number
  /** All files together, in bytes. */
  readonly bytes: number
}

export const ARCHIVE_LIMITS: ArchiveLimits = { entries: 100_000, bytes: 17_179_869_184 }

/** A header that only holds long names is far shorter. */
const MAX_META_BYTES = 16_384
const READ_BYTES = 65_536
/** gzip, zstd, bzip2, xz. */
const PACKED = ['1f8b', '28b52ffd', '425a68', 'fd377a58']
const NEW = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW

export interface ArchiveSize {
  readonly entries: number
  readonly bytes: number
}

/** What is done with the parts of an archive, in their order. */
interface Sink {
  begin(item: Item): Promise<void>
  data(bytes: Uint8Array): Promise<void>
  end(): Promise<void>
}

type Part =
  | { readonly kind: 'entry'; readonly entry: ReadEntry }
  | { readonly kind: 'data'; readonly bytes: Uint8Array }
  | { readonly kind: 'end' }
  | { readonly kind: 'failure'; readonly error: InstallError }

/** Check all of it. @throws InstallError INSTALL_ARCHIVE: says which entry, and what is wrong */
export function checkArchive(file: string, limits = ARCHIVE_LIMITS): Promise<ArchiveSize> {
  const nothing = async (): Promise<void> => undefined
  return readArchive(file, limits, { begin: nothing, data: nothing, end: nothing })
}

/**
 * Unpack into a new folder; every file and folder of it is synced. Where it fails, what was written
 * so far is still there.
 *
 * @throws InstallError INSTALL_ARCHIVE
 */
export async function unpackArchive(
  file: string,
  folder: string,
  limits = ARCHIVE_LIMITS,
): Promise<void> {
  await mkdir(folder, { mode: 0o755 })
  const folders = new Set([folder])
  const ensure = async (path: string): Promise<void> => {
    if (folders.has(path)) return
    await ensure(dirname(path))
    await mkdir(path, { mode: 0o755 })
    folders.add(path)
  }
  let opened: FileHandle | undefined
  try {
    await readArchive(file, limits, {
      async begin(item) {
        const path = join(folder, item.path)
        await ensure(item.kind === 'folder' ? path : dirname(path))
        if (item.kind === 'link') await symlink(item.target, path)
        if (item.kind !== 'file') return
        const mode = item.executable ? 0o755 : 0o644
        opened = await open(path, NEW, mode)
        await opened.chmod(mode)
      },
      async data(bytes) {
        if (opened !== undefined) await writeAll(opened, bytes)
      },
      async end() {
        await opened?.sync()
        await opened?.close()
        opened = undefined
      },
    })
  } finally {
    await opened?.close()
  }
  // Deepest first: what a folder holds is safe before the folder itself is named.
  for (const path of [...folders].toReversed()) await syncFolder(path)
}

async function readArchive(file: string, limits: ArchiveLimits, sink: Sink): Promise<ArchiveSize> {
  await refusePacked(file)
  const names = createNames()
  let bytes = 0
  let entries = 0
  for await (const part of partsOf(file)) {
    if (part.kind === 'failure') throw part.error
    if (part.kind === 'data') await sink.data(part.bytes)
    if (part.kind === 'end') await sink.end()
    if (part.kind !== 'entry') continue
    entries++
    if (entries > limits.entries) throw badArchive(`it holds more than ${limits.entries} entries`)
    const item = names.take(part.entry)
    bytes += part.entry.size
    if (bytes > limits.bytes) throw badArchive(`its files hold more than ${limits.bytes} bytes`)
    await sink.begin(item)
  }
  if (entries === 0) throw badArchive('it is empty')
  return { entries, bytes }
}

/** A packed archive could grow without end, and the parser would unpack it unasked. */
async function refusePacked(file: string): Promise<void> {
  await using opened = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW)
  const { bytesRead, buffer } = await opened.read(Buffer.alloc(512), 0, 512, 0)
  const head = buffer.toString('hex', 0, bytesRead)
  if (PACKED.some((magic) => head.startsWith(magic))) {
    throw badArchive('it is packed, and must be a plain tar')
  }
  if (bytesRead < 512) throw badArchive('it is no tar')
}

/** The parts of the archive in their order; no more of the file is read than they need. */
async function* partsOf(file: string): AsyncGenerator<Part> {
  let parts: Part[] = []
  let ended = false
  const fail = (error: InstallError): void => void parts.push({ kind: 'failure', error })
  const parser = new Parser({ strict: true, maxMetaEntrySize: MAX_META_BYTES, zstd: false })
  parser.on('error', (error: Error) => fail(badArchive(`it is no tar (${quoted(error.message)})`)))
  parser.on('eof', () => (ended = true))
  parser.on('ignoredEntry', (entry: ReadEntry) =>
    fail(badArchive(entry.meta ? 'a header is too long' : `the kind of ${quoted(entry.path)}`)),
  )
  parser.on('entry', (entry: ReadEntry) => {
    parts.push({ kind: 'entry', entry })
    entry.on('data', (bytes: Buffer) => parts.push({ kind: 'data', bytes }))
    entry.on('end', () => parts.push({ kind: 'end' }))
  })
  const taken = (): Part[] => {
    const some = parts
    parts = []
    return some
  }
  const pieces: AsyncIterable<Buffer> = createReadStream(file, { highWaterMark: READ_BYTES })
  for await (const piece of pieces) {
    if (ended) {
      if (piece.some((byte) => byte !== 0)) throw badArchive('something follows its end')
      continue
    }
    // Listened to like this, entries come at once, and nothing waits in the parser.
    parser.write(piece)
    yield* taken()
  }
  parser.end()
  yield* taken()
  if (!ended) throw badArchive('it is cut short')
}
