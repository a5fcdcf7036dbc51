/**
 * A folder as one deterministic tar, without ever making that tar: a plan says which header or file
 * is at which place, and reading goes to them. The same content gives the same bytes, whoever owns
 * the files, when they were written and in which order the disk lists them. SPEC.md of
 * protocols/update, "Form tree".
 */
import { constants, type BigIntStats } from 'node:fs'
import { lstat, open, readdir, readlink, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'

import { Header, Pax } from 'tar'

import { ReleaseError } from './errors.ts'
import { isAsBefore, readAt, roomFor, type RawBytes } from './raw.ts'
import {
  createTwins,
  nameOf,
  refused,
  requirePath,
  requireTarget,
  TREE_LIMITS,
} from './tree-names.ts'

const BLOCK_BYTES = 512
const END = new Uint8Array(2 * BLOCK_BYTES)
const SET_IDS = 0o6000
const OWNER_EXECUTES = 0o100
/** Greatest number that a header can hold in digits. */
const MAX_OCTAL = 0o77777777777

interface Planned {
  /** Where its headers begin in the archive. */
  readonly at: number
  readonly header: Uint8Array
  /** What follows the headers, for a file that is not empty. */
  readonly file?: { readonly path: string; readonly stats: BigIntStats; readonly size: number }
}

interface Entry {
  readonly path: string
  readonly type: 'File' | 'Directory' | 'SymbolicLink'
  readonly mode: number
  readonly size: number
  readonly linkpath?: string
}

/** @throws ReleaseError RELEASE_INPUT: says which path, and why */
export async function openTree(folder: string, signal: AbortSignal): Promise<RawBytes> {
  const entries: Planned[] = []
  let size = 0
  for await (const { entry, source, stats } of walk(folder, signal)) {
    const header = headersOf(entry)
    const file = { path: source, stats, size: entry.size }
    entries.push({ at: size, header, ...(entry.size > 0 && { file }) })
    size += header.length + padded(entry.size)
  }
  if (entries.length === 0) throw refused(folder, 'has nothing in it')
  entries.push({ at: size, header: END })
  return treeBytes(entries, size + END.length)
}

interface Found {
  readonly entry: Entry
  readonly source: string
  readonly stats: BigIntStats
}

/** Every entry below `root`: a folder before what is in it, names by their bytes. */
async function* walk(root: string, signal: AbortSignal): AsyncGenerator<Found> {
  const twins = createTwins()
  let count = 0
  // A stack, so that depth costs no calls; the next entry is at its end.
  const waiting: string[] = []
  const enter = async (inside: string): Promise<void> => {
    const names = await readdir(join(root, inside), { encoding: 'buffer' })
    const sorted = names.toSorted((a, b) => Buffer.compare(b, a))
    for (const name of sorted) waiting.push(inside + nameOf(name, inside))
  }
  await enter('')
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    signal.throwIfAborted()
    if (++count > TREE_LIMITS.entries) {
      throw refused(path, `is one entry too many: a tree has at most ${TREE_LIMITS.entries}`)
    }
    requirePath(path)
    twins.require(path)
    const source = join(root, path)
    const stats = await lstat(source, { bigint: true })
    const entry = await entryOf(path, source, stats)
    yield { entry, source, stats }
    if (entry.type === 'Directory') await enter(entry.path)
  }
}

async function entryOf(path: string, source: string, stats: BigIntStats): Promise<Entry> {
  if (stats.isDirectory()) return { path: `${path}/`, type: 'Directory', mode: 0o755, size: 0 }
  if (stats.isSymbolicLink()) {
    const linkpath = nameOf(await readlink(source, { encoding: 'buffer' }), '')
    requireTarget(path, linkpath)
    return { path, type: 'SymbolicLink', mode: 0o755, size: 0, linkpath }
  }
  if (!stats.isFile()) throw refused(path, `is ${kindOf(stats)}: only files, folders and links`)
  const mode = Number(stats.mode)
  if ((mode & SET_IDS) !== 0) throw refused(path, 'would run with the rights of another user')
  const size = Number(stats.size)
  return { path, type: 'File', mode: (mode & OWNER_EXECUTES) === 0 ? 0o644 : 0o755, size }
}

function kindOf(stats: BigIntStats): string {
  if (stats.isFIFO()) return 'a pipe'
  return stats.isSocket() ? 'a socket' : 'a device'
}

/** The header of one entry, after one for what does not fit into it. */
function headersOf({ path, type, mode, size, linkpath = '' }: Entry): Uint8Array {
  const fields = { path, type, mode, size, linkpath, uid: 0, gid: 0, mtime: new Date(0) }
  const header = new Header(fields)
  const long = header.encode()
  const block = header.block
  if (block === undefined) throw new TypeError('a header without bytes')
  if (!long) return block
  const extra = { path, ...(type === 'SymbolicLink' && { linkpath }) }
  const pax = new Pax({ ...extra, ...(size > MAX_OCTAL && { size }) }).encode()
  // Its own name, which nobody reads: the same for all, and plain.
  const named = new Header({ ...fields, path: 'PaxHeader', linkpath: '', mode: 0o644 })
  named.type = 'ExtendedHeader'
  named.size = new Header(pax).size ?? 0
  named.encode(pax)
  return Buffer.concat([pax, block])
}

function padded(size: number): number {
  return Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES
}

function treeBytes(entries: readonly Planned[], size: number): RawBytes {
  let opened: { readonly of: Planned; readonly handle: FileHandle } | undefined

  async function close(): Promise<void> {
    const { handle } = opened ?? {}
    opened = undefined
    await handle?.close()
  }

  async function handleOf(planned: Planned, path: string): Promise<FileHandle> {
    if (opened?.of === planned) return opened.handle
    await close()
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
    opened = { of: planned, handle: await open(path, flags).catch((cause) => changed(path, cause)) }
    return opened.handle
  }

  /** Into `target`, from `at` of what follows the headers; the padding stays zero. */
  async function readFileOf(planned: Planned, at: number, target: Uint8Array): Promise<void> {
    if (planned.file === undefined) return
    const { path, stats, size: length } = planned.file
    const wanted = Math.min(target.length, length - at)
    if (wanted <= 0) return
    const handle = await handleOf(planned, path)
    const bytes = await readAt(handle, at, target.subarray(0, wanted))
    if (bytes === undefined || !(await isAsBefore(handle, stats))) changed(path)
  }

  return {
    size,
    async read(from, length, into) {
      const target = roomFor(Math.min(length, size - from), into).fill(0)
      for (let done = 0, i = entryAt(entries, from); done < target.length; i++) {
        const planned = entries[i]
        if (planned === undefined) throw new RangeError('a place without an entry')
        const inside = from + done - planned.at
        const head = planned.header.subarray(inside, inside + target.length - done)
        target.set(head, done)
        done += head.length
        const rest = (entries[i + 1]?.at ?? size) - (from + done)
        const body = target.subarray(done, Math.min(target.length, done + rest))
        await readFileOf(planned, from + done - planned.at - planned.header.length, body)
        done += body.length
      }
      return target
    },
    [Symbol.asyncDispose]: close,
  }
}

/** The last entry that begins at or before `place`. */
function entryAt(entries: readonly Planned[], place: number): number {
  let low = 0
  let high = entries.length
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if ((entries[middle]?.at ?? 0) <= place) low = middle
    else high = middle
  }
  return low
}

function changed(path: string, cause?: unknown): never {
  throw new ReleaseError('RELEASE_CHANGED', `${path} changed while it was read.`, { cause })
}
