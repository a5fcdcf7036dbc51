/**
 * The folder behind a blob store. A blob's file is named after all that must be known to check it:
 *
 *     ab/cdef….1.5f3a.9c04d1e2     hash (2 and 62 digits) · codec · length · CRC-32, hexadecimal
 *     tmp/PID-…                    being written by that process
 *     pins/…                       hashes that one release keeps, 32 bytes each
 *
 * A file is renamed into its place when all of it was handed to the system, so the end of a process
 * leaves no half of one. After a power cut a name may stand over bytes that never got to the disk;
 * length and checksum tell.
 */
import { randomUUID } from 'node:crypto'
import * as fs from 'node:fs'
import { mkdir, open, readdir, rm, stat, utimes } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import process from 'node:process'
import { promisify } from 'node:util'
import { crc32 } from 'node:zlib'

import { BOUNDS, type Codec } from '../../protocols/update/index.ts'
import type { Blob } from './chunk-form.ts'
import { ensurePrivateFolder, syncFolder } from './files.ts'

export interface BlobFile {
  /** Hash, 64 digits. */
  readonly hex: string
  readonly codec: Codec
  readonly length: number
  readonly crc: number
}

export interface FoundFile extends BlobFile {
  readonly usedMs: number
}

/**
 * Bytes are read and written off the main thread, where the disk may keep it waiting. To open, close
 * and rename is done on it: that takes some microseconds, a way to another thread and back a hundred
 * times that, and there are four of them to a chunk.
 */
const readSome = promisify(fs.read)
const writeSome = promisify(fs.write)

const FOLDER = /^[0-9a-f]{2}$/
const NAME = /^([0-9a-f]{62})\.([01])\.([1-9a-f][0-9a-f]{0,4})\.([0-9a-f]{8})$/
/** Files that are looked at or synced at the same time. */
const AT_ONCE = 16
const MAX_LENGTH = BOUNDS.maxRawBytes + BOUNDS.maxStoredExtra

export function blobFileOf(hex: string, { codec, bytes }: Blob): BlobFile {
  return { hex, codec, length: bytes.length, crc: crc32(bytes) }
}

export function folderOf(root: string, { hex }: Pick<BlobFile, 'hex'>): string {
  return join(root, hex.slice(0, 2))
}

export function pathOf(root: string, file: BlobFile): string {
  const crc = file.crc.toString(16).padStart(8, '0')
  const name = `${file.hex.slice(2)}.${file.codec}.${file.length.toString(16)}.${crc}`
  return join(folderOf(root, file), name)
}

/** Make the folders, and clear what processes left that are no more. @throws NodeError NODE_DENIED */
export async function prepareFolders(root: string): Promise<void> {
  await ensurePrivateFolder(root)
  await mkdir(join(root, 'tmp'), { recursive: true, mode: 0o700 })
  await mkdir(join(root, 'pins'), { recursive: true, mode: 0o700 })
  // Its own name, too: what is synced in it later would go with it.
  await syncFolder(dirname(root))
  for (const name of await readdir(join(root, 'tmp'))) {
    const pid = Number.parseInt(name, 10)
    if (pid === process.pid || !isAlive(pid)) await rm(join(root, 'tmp', name), { force: true })
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Every whole file, in no order. One that is not as long as its name says is removed. */
export async function scanFiles(root: string): Promise<FoundFile[]> {
  const found: FoundFile[] = []
  for (const folder of await readdir(root)) {
    if (!FOLDER.test(folder)) continue
    const names = await readdir(join(root, folder))
    await eachOf(names, async (name) => {
      const file = fileNamed(folder, name)
      if (file === undefined) return
      const path = join(root, folder, name)
      const stats = await stat(path).catch(() => undefined)
      if (stats === undefined) return
      if (stats.isFile() && stats.size === file.length)
        found.push({ ...file, usedMs: stats.mtimeMs })
      else await rm(path, { force: true, recursive: true })
    })
  }
  return found
}

function fileNamed(folder: string, name: string): BlobFile | undefined {
  const [, rest, codec, length = '', crc = ''] = NAME.exec(name) ?? []
  if (rest === undefined) return undefined
  const file = { hex: folder + rest, codec: Number(codec) as Codec, crc: Number.parseInt(crc, 16) }
  return { ...file, length: Math.min(MAX_LENGTH, Number.parseInt(length, 16)) }
}

/** Undefined where the file is gone, or is not what its name says. @throws what reading throws */
export async function readBlob(root: string, file: BlobFile): Promise<Blob | undefined> {
  try {
    const bytes = await readWhole(pathOf(root, file), file.length)
    if (bytes === undefined || crc32(bytes) !== file.crc) return undefined
    return { codec: file.codec, bytes }
  } catch (error) {
    // A disk that cannot read these bytes any more has lost them.
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'EIO') return undefined
    throw error
  }
}

/**
 * The first `length` bytes, where there are that many. Chunks are read to be sent: this costs half of
 * what the platform's `readFile` does, which cannot know the length.
 */
async function readWhole(path: string, length: number): Promise<Uint8Array | undefined> {
  const fd = fs.openSync(path, 'r')
  try {
    const bytes = Buffer.allocUnsafeSlow(length)
    for (let at = 0; at < length;) {
      const { bytesRead } = await readSome(fd, bytes, at, length - at, at)
      if (bytesRead === 0) return undefined
      at += bytesRead
    }
    return bytes
  } finally {
    fs.closeSync(fd)
  }
}

/** The file is whole and in its place, or not there. */
export async function writeBlob(root: string, file: BlobFile, bytes: Uint8Array): Promise<void> {
  const temporary = join(root, 'tmp', `${process.pid}-${randomUUID()}`)
  try {
    await writeWhole(temporary, bytes)
    await placed(root, file, temporary)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  const fd = fs.openSync(path, 'wx', 0o600)
  try {
    for (let at = 0; at < bytes.length;) {
      const { bytesWritten } = await writeSome(fd, bytes, at, bytes.length - at)
      at += bytesWritten
    }
  } finally {
    fs.closeSync(fd)
  }
}

async function placed(root: string, file: BlobFile, temporary: string): Promise<void> {
  try {
    fs.renameSync(temporary, pathOf(root, file))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    await mkdir(folderOf(root, file), { recursive: true, mode: 0o700 })
    fs.renameSync(temporary, pathOf(root, file))
  }
}

export async function removeBlob(root: string, file: BlobFile): Promise<void> {
  await rm(pathOf(root, file), { force: true })
}

/** Note that it was used. */
export async function touchBlob(root: string, file: BlobFile, nowMs: number): Promise<void> {
  const at = nowMs / 1000
  await utimes(pathOf(root, file), at, at).catch(() => undefined)
}

/** Bytes and names of these files survive a power cut. Those that are gone are left out. */
export async function syncBlobs(root: string, files: readonly BlobFile[]): Promise<void> {
  if (files.length === 0) return
  await eachOf(files, async (file) => {
    const handle = await open(pathOf(root, file), 'r').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined
      throw error
    })
    await using opened = handle
    await opened?.sync()
  })
  await eachOf([...new Set(files.map((file) => folderOf(root, file)))], syncFolder)
  await syncFolder(root)
}

async function eachOf<T>(items: readonly T[], run: (item: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += AT_ONCE) {
    await Promise.all(items.slice(at, at + AT_ONCE).map(run))
  }
}
