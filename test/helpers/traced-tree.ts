/**
 * What a process did to a tree of folders, from a trace of its system calls, and what is left of it
 * where the power goes. Content is safe once its file was synced, a name once its folder was; a
 * rename is one change in both of its folders. All else is there or not as `survives` says.
 */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** For `strace -f -xx -y -s`: the calls to record, by their names on every processor. */
export const TREE_CALLS =
  '?open,openat,?mkdir,mkdirat,?symlink,symlinkat,?rename,?renameat,renameat2,?link,linkat,?unlink,unlinkat,?rmdir,write,writev,pwrite64,ftruncate,fsync,fdatasync'
/** Those that change something, to be killed at. */
export const TREE_CHANGES = TREE_CALLS.replace('?open,openat,', '')

interface Folder {
  readonly kind: 'folder'
}
interface Link {
  readonly kind: 'link'
  readonly target: string
}
interface File {
  readonly kind: 'file'
}
type Entry = Folder | Link | File

/** One change of names; `entry` undefined removes. */
interface Naming {
  readonly puts: readonly {
    readonly folder: Folder
    readonly name: string
    readonly entry: Entry | undefined
  }[]
}

export type TreeEvent =
  | { readonly kind: 'name'; readonly change: Naming }
  | { readonly kind: 'write'; readonly file: File; readonly at: number; readonly bytes: Buffer }
  | { readonly kind: 'sync'; readonly entry: Entry }
  | { readonly kind: 'said'; readonly text: string }

export interface TreeTrace {
  readonly root: Folder
  readonly events: readonly TreeEvent[]
}

const CALL = /^(\d+) +(\w+)\((.*)\) += (-?\d+)/
const TEXT = /"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?/g
const FD = /^(?:\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2})*)>/

/** @throws Error on a call that it cannot follow */
export function readTreeTrace(trace: string, folder: string): TreeTrace {
  const names = createNames(folder)
  const events: TreeEvent[] = []
  for (const line of wholeLines(trace)) {
    const [, , call = '', args = '', result = '-1'] = CALL.exec(line) ?? []
    if (call === '' || Number(result) < 0) continue
    if (call === 'write' && args.startsWith('1<')) {
      events.push({ kind: 'said', text: textsIn(args)[0]?.toString() ?? '' })
    } else events.push(...names.follow(call, args, Number(result)))
  }
  return { root: names.root, events }
}

/** Calls that another thread interrupted in the trace, put together. */
function* wholeLines(trace: string): Generator<string> {
  const begun = new Map<string, string>()
  for (const line of trace.split('\n')) {
    const pid = /^\d+/.exec(line)?.[0] ?? ''
    if (line.endsWith(' <unfinished ...>')) {
      begun.set(pid, line.slice(0, -' <unfinished ...>'.length))
      continue
    }
    const rest = /^\d+ +<\.\.\. \w+ resumed>(.*)$/.exec(line)?.[1]
    yield rest === undefined ? line : `${begun.get(pid) ?? ''}${rest}`
  }
}

function textsIn(args: string): Buffer[] {
  return [...args.matchAll(TEXT)].map(([all, hex, cut]) => {
    if (cut !== undefined) throw new Error(`cut short in the trace: ${all.slice(0, 80)}`)
    return decode(hex)
  })
}

function decode(hex = ''): Buffer {
  return Buffer.from(hex.replaceAll('\\x', ''), 'hex')
}

function createNames(base: string) {
  const root: Folder = { kind: 'folder' }
  /** As the process sees it. */
  const tree = new Map<string, Entry>([[base, root]])
  const sizes = new Map<File, number>()

  const put = (path: string, entry: Entry | undefined) => {
    const folder = tree.get(dirname(path))
    if (folder?.kind !== 'folder') throw new Error(`no folder for ${path}`)
    return { folder, name: path.slice(dirname(path).length + 1), entry }
  }
  const change = (...puts: Naming['puts']): TreeEvent[] => [{ kind: 'name', change: { puts } }]
  const make = (path: string, entry: Entry): TreeEvent[] => {
    tree.set(path, entry)
    return change(put(path, entry))
  }

  function move(from: string, to: string): TreeEvent[] {
    const entry = tree.get(from)
    if (entry === undefined) throw new Error(`cannot rename ${from}`)
    const puts = [put(from, undefined), put(to, entry)]
    for (const path of Array.from(tree.keys()).filter(
      (one) => one === to || one.startsWith(`${to}/`),
    )) {
      tree.delete(path)
    }
    for (const [path, one] of Array.from(tree)) {
      if (path !== from && !path.startsWith(`${from}/`)) continue
      tree.delete(path)
      tree.set(to + path.slice(from.length), one)
    }
    return change(...puts)
  }

  function write(args: string, count: number, bytes: Buffer, at?: number): TreeEvent[] {
    const file = tree.get(fdPath(args))
    if (file?.kind !== 'file') return []
    const from = at ?? sizes.get(file) ?? 0
    sizes.set(file, Math.max(sizes.get(file) ?? 0, from + count))
    return [{ kind: 'write', file, at: from, bytes: bytes.subarray(0, count) }]
  }

  function making(call: string, args: string, path: string): TreeEvent[] {
    if (call.startsWith('open')) {
      if (!args.includes('O_CREAT') || tree.has(path)) return []
      return make(path, { kind: 'file' })
    }
    if (call.startsWith('mkdir')) return make(path, { kind: 'folder' })
    return make(path, { kind: 'link', target: textsIn(args)[0]?.toString() ?? '' })
  }

  function byPath(call: string, args: string): TreeEvent[] {
    const paths = pathsIn(args)
    const path = paths.at(-1) ?? ''
    const first = paths[0] ?? ''
    if (call.startsWith('rename')) return first.startsWith(`${base}/`) ? move(first, path) : []
    if (!path.startsWith(`${base}/`)) return []
    if (/^(open|mkdir|symlink)/.test(call)) return making(call, args, path)
    if (!/^(unlink|rmdir)/.test(call)) throw new Error(`cannot follow ${call} of ${path}`)
    const gone = change(put(path, undefined))
    tree.delete(path)
    return gone
  }

  /** Nothing, where it changes nothing. */
  function unfollowed(call: string, args: string): TreeEvent[] {
    const path = fdPath(args)
    const file = tree.get(path)
    const length = file?.kind === 'file' ? (sizes.get(file) ?? 0) : 0
    const isSame = call === 'ftruncate' && args.endsWith(`, ${length}`)
    if (path.startsWith(`${base}/`) && !isSame) throw new Error(`cannot follow ${call}`)
    return []
  }

  return {
    root,
    follow(call: string, args: string, result: number): TreeEvent[] {
      if (/^f(data)?sync$/.test(call)) {
        const entry = tree.get(fdPath(args))
        return entry === undefined ? [] : [{ kind: 'sync', entry }]
      }
      if (call === 'write') return write(args, result, textsIn(args)[0] ?? Buffer.alloc(0))
      if (call === 'pwrite64') {
        const at = Number(args.slice(args.lastIndexOf(',') + 1))
        return write(args, result, textsIn(args)[0] ?? Buffer.alloc(0), at)
      }
      if (call === 'writev' || call === 'ftruncate') return unfollowed(call, args)
      return byPath(call, args)
    },
  }
}

function fdPath(args: string): string {
  return decode(FD.exec(args)?.[1]).toString()
}

/** Every path that a call names, from the folder that it names before it. */
function pathsIn(args: string): string[] {
  const parts = args.split(', ')
  return parts.flatMap((part, i) => {
    if (!part.startsWith('"')) return []
    const path = textsIn(part)[0]?.toString() ?? ''
    if (path.startsWith('/')) return [path]
    const folder = parts[i - 1]
    return [join(folder === undefined ? '/' : fdPath(folder), path)]
  })
}

/** Put the tree as a power cut after `count` events leaves it into `target`. */
export function leaveTree(
  { root, events }: TreeTrace,
  count: number,
  survives: () => boolean,
  target: string,
): void {
  const some = events.slice(0, count)
  const folders = namesLeft(some, survives)
  const contents = contentLeft(some, survives)
  const lay = (folder: Folder, path: string): void => {
    mkdirSync(path, { recursive: true })
    for (const [name, entry] of folders.get(folder) ?? []) {
      const below = join(path, name)
      if (entry.kind === 'folder') lay(entry, below)
      else if (entry.kind === 'link') symlinkSync(entry.target, below)
      else writeFileSync(below, contents.get(entry) ?? '')
    }
  }
  lay(root, target)
}

function namesLeft(
  events: readonly TreeEvent[],
  survives: () => boolean,
): Map<Folder, Map<string, Entry>> {
  let pending: Naming[] = []
  const safe = new Set<Naming>()
  const order: Naming[] = []
  for (const event of events) {
    if (event.kind === 'name') {
      pending.push(event.change)
      order.push(event.change)
    } else if (event.kind === 'sync' && event.entry.kind === 'folder') {
      const touches = (one: Naming) => one.puts.some(({ folder }) => folder === event.entry)
      for (const one of pending.filter(touches)) safe.add(one)
      pending = pending.filter((one) => !touches(one))
    }
  }
  const folders = new Map<Folder, Map<string, Entry>>()
  for (const one of order) {
    if (!safe.has(one) && !survives()) continue
    for (const { folder, name, entry } of one.puts) {
      const names = folders.get(folder) ?? new Map<string, Entry>()
      folders.set(folder, names)
      if (entry === undefined) names.delete(name)
      else names.set(name, entry)
    }
  }
  return folders
}

function contentLeft(events: readonly TreeEvent[], survives: () => boolean): Map<File, Buffer> {
  const writes = new Map<File, { readonly at: number; readonly bytes: Buffer; safe: boolean }[]>()
  for (const event of events) {
    if (event.kind === 'write') {
      const of = writes.get(event.file) ?? []
      writes.set(event.file, [...of, { at: event.at, bytes: event.bytes, safe: false }])
    } else if (event.kind === 'sync' && event.entry.kind === 'file') {
      for (const one of writes.get(event.entry) ?? []) one.safe = true
    }
  }
  const contents = new Map<File, Buffer>()
  for (const [file, all] of writes) {
    let content = Buffer.alloc(0)
    for (const { at, bytes, safe } of all) {
      if (!safe && !survives()) continue
      const next = Buffer.alloc(Math.max(content.length, at + bytes.length))
      content.copy(next)
      bytes.copy(next, at)
      content = next
    }
    contents.set(file, content)
  }
  return contents
}
