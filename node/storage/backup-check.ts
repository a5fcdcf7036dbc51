/**
 * Reads a backup as what a stranger may have written: every act and pack is opened and its signature
 * checked, every pack has its place in its log, and everything stands where it must. Summaries of
 * readings that are gone carry no signature; only their form can be checked. Writes nothing.
 */
import { createHash } from 'node:crypto'

import {
  createVerifier,
  IdentityError,
  peerIdOf,
  type Verifier,
} from '../../protocols/identity/index.ts'
import { createOpSet, MembersError, type OpSet } from '../../protocols/members/index.ts'
import { isPackFault, openPack, type Pack } from '../../protocols/telemetry/index.ts'
import { equalBytes, fromHex, toHex, WireError } from '../../protocols/wire/index.ts'
import {
  damaged,
  headSchema,
  jsonOf,
  KINDS,
  logSchema,
  MAX_LOGS,
  PACK_HEAD_BYTES,
  rowsSchema,
  type Frame,
  type Head,
  type LogHead,
} from './backup-format.ts'

export type BackupItem =
  | { readonly part: 'head'; readonly head: Head }
  | { readonly part: 'settings'; readonly text: string }
  | { readonly part: 'trust'; readonly channel: string; readonly bytes: Uint8Array }
  | { readonly part: 'home'; readonly ops: OpSet }
  | { readonly part: 'log'; readonly log: LogHead }
  | {
      readonly part: 'pack'
      readonly log: number
      readonly pack: Pack
      readonly receivedAtMs: number
      readonly flags: number
    }
  | ({ readonly part: 'rows' } & ReturnType<typeof jsonOf<typeof rowsSchema>>)

/** Names that `kith update` gives to channels; never a path. */
const CHANNEL = /^[a-z0-9][a-z0-9-]{0,31}$/
const TRUST_MAGIC = Buffer.from('KITHTUF1')
const MAX_FLAGS = 63

/** @throws NodeError NODE_USAGE at the first thing that is not as it must be */
export async function* checkBackup(
  frames: AsyncIterable<Frame>,
  verifier: Verifier = createVerifier(),
): AsyncGenerator<BackupItem> {
  const check = new Check(verifier)
  for await (const frame of frames) yield* orDamaged(() => check.take(frame))
  yield* orDamaged(() => check.end())
}

function orDamaged<T>(work: () => T): T {
  try {
    return work()
  } catch (cause) {
    const fault =
      isPackFault(cause) ||
      cause instanceof MembersError ||
      cause instanceof IdentityError ||
      cause instanceof WireError
    throw fault ? damaged(cause.code, cause) : cause
  }
}

interface OpenLog {
  readonly device: Uint8Array
  readonly segments: readonly Run[]
  seq: number
  hash: Uint8Array
}

interface Run {
  readonly from: number
  readonly to: number
  readonly prev: Uint8Array
  readonly hash: Uint8Array
}

class Check {
  readonly #verifier: Verifier
  readonly #peerIds = new Map<string, string>()
  readonly #logs: OpenLog[] = []
  readonly #devices = new Set<string>()
  /** Kinds come in the order of their numbers. */
  #kind = 0
  #home: Uint8Array | undefined
  #ops: OpSet | undefined
  #left = 0

  constructor(verifier: Verifier) {
    this.#verifier = verifier
  }

  /** What this frame, and what ended with it, come to. */
  take({ kind, content }: Frame): readonly BackupItem[] {
    if (kind < this.#kind || (kind === KINDS.head) !== (this.#kind === 0)) {
      throw damaged('something is out of place')
    }
    const before = this.#kind
    this.#kind = kind
    const ended = before <= KINDS.op && kind > KINDS.op ? this.#endOps() : []
    return [...ended, ...this.#item(kind, content)]
  }

  end(): readonly BackupItem[] {
    if (this.#kind === 0) throw damaged('it is empty')
    if (this.#left !== 0) throw damaged('packs are missing')
    return this.#kind <= KINDS.op ? this.#endOps() : []
  }

  #item(kind: number, content: Uint8Array): readonly BackupItem[] {
    if (kind === KINDS.head) return [this.#head(content)]
    if (kind === KINDS.settings) return [{ part: 'settings', text: textOf(content) }]
    if (kind === KINDS.trust) return [trustOf(content)]
    if (kind === KINDS.op) return this.#op(content)
    if (kind === KINDS.log) return [this.#log(jsonOf(logSchema, content))]
    if (kind === KINDS.pack) return [this.#pack(content)]
    return [this.#rows(content)]
  }

  #head(content: Uint8Array): BackupItem {
    const head = jsonOf(headSchema, content)
    this.#left = head.packs
    if (head.home !== undefined) {
      this.#home = fromHex(head.home)
      this.#ops = createOpSet(this.#home, this.#verifier)
    }
    return { part: 'head', head }
  }

  #op(content: Uint8Array): readonly BackupItem[] {
    if (this.#ops === undefined) throw damaged('acts of no home')
    try {
      this.#ops.add(content)
    } catch (error) {
      // As at a start: it waits for an act that stands on it.
      if (!(error instanceof MembersError) || error.code !== 'MEMBERS_FULL') throw error
    }
    return []
  }

  #endOps(): readonly BackupItem[] {
    if (this.#ops === undefined) return []
    if (this.#ops.entries.length === 0) throw damaged('the home has no beginning')
    return [{ part: 'home', ops: this.#ops }]
  }

  #log(log: LogHead): BackupItem {
    if (
      this.#home === undefined ||
      this.#logs.length >= MAX_LOGS ||
      this.#devices.has(log.device)
    ) {
      throw damaged('a log that cannot be')
    }
    this.#devices.add(log.device)
    let last = 0
    const segments = log.segments.map(([from, to, prev, hash]) => {
      // Runs that touch would be one.
      if (from <= last + (last === 0 ? 0 : 1) || to < from) throw damaged('a log that cannot be')
      last = to
      return { from, to, prev: fromHex(prev), hash: fromHex(hash) }
    })
    const device = fromHex(log.device)
    this.#logs.push({ device, segments, seq: 0, hash: new Uint8Array() })
    return { part: 'log', log }
  }

  #pack(content: Uint8Array): BackupItem {
    if (content.length <= PACK_HEAD_BYTES || this.#left === 0) throw damaged('a pack too many')
    const view = new DataView(content.buffer, content.byteOffset)
    const [at, receivedAtMs, flags] = [view.getUint32(0), view.getFloat64(4), view.getUint32(12)]
    const log = this.#logs[at]
    if (log === undefined || !Number.isSafeInteger(receivedAtMs) || flags > MAX_FLAGS) {
      throw damaged('a pack of no log')
    }
    const pack = this.#open(log, content.slice(PACK_HEAD_BYTES))
    place(log, pack)
    this.#left--
    return { part: 'pack', log: at, pack, receivedAtMs, flags }
  }

  #open({ device }: OpenLog, bytes: Uint8Array): Pack {
    const home = this.#home ?? new Uint8Array(32)
    const peerId = (key: Uint8Array): string => {
      const hex = toHex(key)
      const id = this.#peerIds.get(hex) ?? peerIdOf(key)
      this.#peerIds.set(hex, id)
      return id
    }
    return openPack(bytes, { home, verifier: this.#verifier, peerId }, device)
  }

  #rows(content: Uint8Array): BackupItem {
    const found = jsonOf(rowsSchema, content)
    if (found.table === 'logFloors' || found.table === 'rollups') {
      for (const [at] of found.rows) this.#logAt(at)
    }
    if (found.table === 'forks') {
      for (const [at, seq, kept, other] of found.rows) {
        const log = this.#logAt(at)
        const packs = [kept, other].flatMap((text) =>
          text === null ? [] : [this.#open(log, new Uint8Array(Buffer.from(text, 'base64')))],
        )
        if (packs.length === 2 && packs[0]?.seq !== seq)
          throw damaged('a proof that proves nothing')
      }
    }
    return { part: 'rows', ...found }
  }

  #logAt(at: number): OpenLog {
    const log = this.#logs[at]
    if (log === undefined) throw damaged('a row of no log')
    return log
  }
}

/** It lies in a run of numbers that were received, and agrees with what is known beside it. */
function place(log: OpenLog, { seq, prev, hash }: Pack): void {
  const run = log.segments.find(({ from, to }) => seq >= from && seq <= to)
  const fits =
    run !== undefined &&
    (seq !== run.from || equalBytes(prev, run.prev)) &&
    (seq !== run.to || equalBytes(hash, run.hash)) &&
    (seq !== log.seq + 1 || seq === run.from || equalBytes(prev, log.hash))
  if (!fits) throw damaged('a pack that is not of its log')
  log.seq = seq
  log.hash = hash
}

function textOf(content: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(content)
  } catch (cause) {
    throw damaged('its settings are no text', cause)
  }
}

/** One byte length, name of the channel, then the file as the device keeps it: with its own hash. */
function trustOf(content: Uint8Array): BackupItem {
  const [length = 0] = content
  const channel = Buffer.from(content.subarray(1, 1 + length)).toString('latin1')
  const bytes = content.slice(1 + length)
  const body = bytes.subarray(TRUST_MAGIC.length + 32)
  const intact =
    CHANNEL.test(channel) &&
    equalBytes(bytes.subarray(0, TRUST_MAGIC.length), TRUST_MAGIC) &&
    equalBytes(
      bytes.subarray(TRUST_MAGIC.length, TRUST_MAGIC.length + 32),
      new Uint8Array(createHash('sha256').update(body).digest()),
    )
  if (!intact) throw damaged('a channel that cannot be')
  return { part: 'trust', channel, bytes }
}
