/**
 * What a process wrote to disk, from a trace of its system calls, and what is left of it where the
 * power goes: all that was synced, and of the rest as much as `survives` says. Knows the calls that
 * SQLite makes, and regular files in one folder alone.
 */

export type DiskEvent =
  | { readonly kind: 'write'; readonly file: string; readonly at: number; readonly bytes: Buffer }
  | { readonly kind: 'truncate'; readonly file: string; readonly length: number }
  | { readonly kind: 'sync'; readonly file: string }
  | { readonly kind: 'remove'; readonly file: string }
  | { readonly kind: 'sync-folder' }
  | { readonly kind: 'said'; readonly text: string }

/** For `strace -xx -y -s`: the calls to record. */
export const TRACED = 'pwrite64,write,writev,ftruncate,fsync,fdatasync,unlink,rename'

const CALL = /^(\w+)\((.*)\) += (-?\d+)/
const FD = /^\d+<((?:\\x[0-9a-f]{2})+|[^>]*)>/
const TEXT = /"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?/

/** @throws Error on a call that it cannot follow */
export function readTrace(trace: string, folder: string): DiskEvent[] {
  return trace.split('\n').flatMap((line) => eventIn(line, `${folder}/`))
}

interface Call {
  readonly name: string
  readonly args: string
  readonly result: number
  /** What it wrote, or the path that it named. */
  readonly text: Buffer
  /** The text was cut short in the trace. */
  readonly cut: boolean
}

function callIn(line: string): Call | undefined {
  const [, name, args, result] = CALL.exec(line) ?? []
  if (name === undefined || args === undefined || Number(result) < 0) return undefined
  const [, hex, cut] = TEXT.exec(args) ?? []
  return { name, args, result: Number(result), text: decode(hex), cut: cut !== undefined }
}

function eventIn(line: string, folder: string): DiskEvent[] {
  const call = callIn(line)
  if (call === undefined) return []
  if (call.name === 'write' && call.args.startsWith('1<')) {
    return [{ kind: 'said', text: call.text.toString() }]
  }
  const path = call.name === 'unlink' ? call.text.toString() : pathIn(call.args)
  if (`${path}/` === folder && call.name === 'fsync') return [{ kind: 'sync-folder' }]
  return path.startsWith(folder) ? [changeBy(call, path.slice(folder.length))] : []
}

function changeBy({ name, args, result, text, cut }: Call, file: string): DiskEvent {
  const last = Number(args.slice(args.lastIndexOf(',') + 1))
  if (name === 'unlink') return { kind: 'remove', file }
  if (name === 'fsync' || name === 'fdatasync') return { kind: 'sync', file }
  if (name === 'ftruncate') return { kind: 'truncate', file, length: last }
  if (name !== 'pwrite64' || cut) throw new Error(`cannot follow ${name} of ${file}`)
  return { kind: 'write', file, at: last, bytes: text.subarray(0, result) }
}

function pathIn(args: string): string {
  const shown = FD.exec(args)?.[1] ?? ''
  return shown.startsWith('\\x') ? decode(shown).toString() : shown
}

function decode(hex = ''): Buffer {
  return Buffer.from(hex.replaceAll('\\x', ''), 'hex')
}

/** Files as a power cut after `events` leaves them. */
export function afterPowerCut(
  events: readonly DiskEvent[],
  survives: () => boolean,
): Map<string, Buffer> {
  const { synced, pending } = syncedBy(events)
  for (const [file, waiting] of pending) {
    const kept = waiting.filter(survives)
    // Whether a file that was made or removed is there is not known either, until the next sync.
    if (kept.at(-1)?.kind === 'remove') synced.delete(file)
    else if (synced.has(file) || kept.length > 0) synced.set(file, apply(synced.get(file), kept))
  }
  return synced
}

/** What is safe after `events`, and by file what may or may not be. */
function syncedBy(events: readonly DiskEvent[]): {
  readonly synced: Map<string, Buffer>
  readonly pending: Map<string, DiskEvent[]>
} {
  const synced = new Map<string, Buffer>()
  const pending = new Map<string, DiskEvent[]>()
  for (const event of events) {
    if (event.kind === 'said') continue
    if (event.kind === 'sync-folder') {
      const removed = [...pending].filter(([, waiting]) => waiting.at(-1)?.kind === 'remove')
      for (const [file] of removed) synced.delete(file)
      continue
    }
    const waiting = pending.get(event.file) ?? []
    if (event.kind === 'sync') synced.set(event.file, apply(synced.get(event.file), waiting))
    pending.set(event.file, event.kind === 'sync' ? [] : [...waiting, event])
  }
  return { synced, pending }
}

function apply(before: Buffer = Buffer.alloc(0), events: readonly DiskEvent[]): Buffer {
  let content = before
  for (const event of events) {
    if (event.kind === 'remove') content = Buffer.alloc(0)
    if (event.kind === 'truncate') content = resized(content, event.length)
    if (event.kind !== 'write') continue
    const { at, bytes } = event
    const next = Buffer.from(resized(content, Math.max(content.length, at + bytes.length)))
    bytes.copy(next, at)
    content = next
  }
  return content
}

function resized(content: Buffer, length: number): Buffer {
  if (length <= content.length) return content.subarray(0, length)
  return Buffer.concat([content, Buffer.alloc(length - content.length)])
}
