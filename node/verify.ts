/**
 * Checks an export without any running device: membership from its genesis on, every signature,
 * every link, what was missing, who had been removed. Believes nothing but the home id, which the
 * reader compares with the one that they know. SPEC.md of protocols/telemetry, "Export".
 */
import { createHash, type Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'

import { CodedError } from '../protocols/errors.ts'
import { createVerifier, homeText, peerIdOf } from '../protocols/identity/index.ts'
import {
  createOpSet,
  permits,
  reduce,
  type HomeState,
  type OpSet,
} from '../protocols/members/index.ts'
import {
  openPack,
  readExport,
  type ExportItem,
  type ExportPart,
  type Pack,
  type SeqRange,
} from '../protocols/telemetry/index.ts'
import { equalBytes, toHex } from '../protocols/wire/index.ts'
import { NodeError } from './errors.ts'

export interface LogVerdict {
  /** Peer id. */
  readonly device: string
  readonly name: string
  /** Role in the exported home; `removed`, or `unknown` for a device that never was in it. */
  readonly role: string
  /** Numbers that the export says it holds; 0 for none. */
  readonly from: number
  readonly to: number
  /** Packs that are what they say, and the readings in them. */
  packs: number
  readings: number
  /** Numbers that are missing, both ends included. */
  readonly gaps: SeqRange[]
  /** Packs that contradict another one of the log. */
  forks: number
  /** Packs that are damaged, forged, out of place or from after a removal. */
  refused: number
}

export interface ExportProblem {
  /** Place in the file, in bytes. */
  readonly at: number
  readonly code: string
}

export interface ExportVerdict {
  /** Everything is authentic, in one history, and the file is whole. Gaps are told, not judged. */
  readonly ok: boolean
  readonly home: string
  readonly homeName: string
  readonly ops: number
  readonly packs: number
  readonly readings: number
  /** Number of gaps. */
  readonly gaps: number
  readonly forks: number
  readonly refused: number
  /** The file ends where its writer ended it, unchanged. */
  readonly complete: boolean
  readonly logs: readonly LogVerdict[]
  /** The first of what is wrong. */
  readonly problems: readonly ExportProblem[]
}

const MAX_PROBLEMS = 100

/** @throws NodeError NODE_NOT_FOUND, NODE_USAGE where the file cannot be read or is no export */
export async function verifyFile(path: string): Promise<ExportVerdict> {
  try {
    return await verifyExport(createReadStream(path, { highWaterMark: 1024 * 1024 }))
  } catch (cause) {
    if (cause instanceof NodeError) throw cause
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT')
      throw new NodeError('NODE_NOT_FOUND', `There is no file ${path}.`, { cause })
    throw new NodeError('NODE_USAGE', `The file ${path} cannot be read.`, { cause })
  }
}

/** @throws NodeError NODE_USAGE where it does not begin as an export does */
export async function verifyExport(pieces: AsyncIterable<Uint8Array>): Promise<ExportVerdict> {
  const items = readExport(pieces)
  const state = new Verification()
  try {
    for await (const { item, offset, encoded } of items) state.take(item, offset, encoded)
  } catch (error) {
    state.broken(error)
  }
  return state.verdict()
}

interface OpenLog {
  readonly row: LogVerdict
  readonly device: Uint8Array
  /** For a removed device: the last number that is accepted; 0 for one that may not publish. */
  readonly lastSeq: number
  /** The packs with the highest number so far, and that number. */
  seq: number
  hashes: Uint8Array[]
}

class Verification {
  readonly #verifier = createVerifier()
  readonly #hash: Hash = createHash('sha256')
  readonly #logs: LogVerdict[] = []
  readonly #problems: ExportProblem[] = []
  #items = 0
  #offset = 0
  #ops: OpSet | undefined
  #state: HomeState | undefined
  #log: OpenLog | undefined
  #complete = false

  take(item: ExportItem, offset: number, encoded: Uint8Array): void {
    this.#offset = offset
    if (this.#complete) {
      this.#complete = false
      this.#wrong('TELEMETRY_BAD_EXPORT')
    }
    if (item instanceof Uint8Array) this.#document(item)
    else this.#part(item)
    this.#hash.update(encoded)
    this.#items++
  }

  /** Nothing after this place can be read. */
  broken(error: unknown): void {
    if (!(error instanceof CodedError)) throw error
    this.#complete = false
    this.#wrong(error.code)
  }

  verdict(): ExportVerdict {
    if (this.#ops === undefined) throw noExport()
    this.#closeLog()
    const state = this.#homeState()
    const sum = (count: (row: LogVerdict) => number): number =>
      this.#logs.reduce((total, row) => total + count(row), 0)
    const forks = sum((row) => row.forks)
    return {
      ok: this.#complete && this.#problems.length === 0 && forks === 0,
      home: homeText(this.#ops.home),
      homeName: state?.name ?? '',
      ops: this.#ops.entries.length,
      packs: sum((row) => row.packs),
      readings: sum((row) => row.readings),
      gaps: sum((row) => row.gaps.length),
      forks,
      refused: sum((row) => row.refused),
      complete: this.#complete,
      logs: this.#logs,
      problems: this.#problems,
    }
  }

  #wrong(code: string): void {
    if (this.#problems.length < MAX_PROBLEMS) this.#problems.push({ at: this.#offset, code })
  }

  #part(part: ExportPart): void {
    if (part.part === 'kith-export-v1') {
      if (this.#ops !== undefined) throw noExport()
      this.#ops = createOpSet(part.home, this.#verifier)
      return
    }
    if (this.#ops === undefined) throw noExport()
    this.#closeLog()
    if (part.part === 'log') this.#openLog(part.device, part)
    else {
      const { items, hash } = part
      const whole = items === this.#items && equalBytes(hash, this.#hash.copy().digest())
      this.#complete = whole
      if (!whole) this.#wrong('TELEMETRY_BAD_EXPORT')
    }
  }

  #document(bytes: Uint8Array): void {
    if (this.#ops === undefined) throw noExport()
    try {
      if (this.#log !== undefined) this.#pack(this.#log, bytes)
      else if (this.#ops.add(bytes).status === 'waiting') this.#wrong('MEMBERS_BAD_OP')
    } catch (error) {
      if (!(error instanceof CodedError)) throw error
      if (this.#log !== undefined) this.#log.row.refused++
      this.#wrong(error.code)
    }
  }

  /** Undefined where there is no genesis. */
  #homeState(): HomeState | undefined {
    if (this.#state === undefined && this.#ops !== undefined && this.#ops.entries.length > 0) {
      this.#state = reduce(this.#ops)
    }
    return this.#state
  }

  #openLog(device: Uint8Array, { from, to }: SeqRange): void {
    const { lastSeq, ...who } = placeOf(this.#homeState(), toHex(device))
    const counts = { packs: 0, readings: 0, gaps: [], forks: 0, refused: 0 }
    const row: LogVerdict = { device: peerIdOf(device), ...who, from, to, ...counts }
    this.#logs.push(row)
    this.#log = { row, device, lastSeq, seq: Math.max(0, from - 1), hashes: [] }
  }

  #closeLog(): void {
    if (this.#log === undefined) return
    const { row, seq } = this.#log
    if (row.to > seq) row.gaps.push({ from: seq + 1, to: row.to })
    this.#log = undefined
  }

  #pack(log: OpenLog, bytes: Uint8Array): void {
    const home = this.#ops?.home ?? new Uint8Array()
    const pack = openPack(bytes, { home, verifier: this.#verifier }, log.device)
    const code = misplaced(log, pack)
    if (code !== undefined) {
      log.row.refused++
      return this.#wrong(code)
    }
    log.row.packs++
    log.row.readings += pack.readings.length
    follow(log, pack)
  }
}

function placeOf(
  state: HomeState | undefined,
  key: string,
): { readonly name: string; readonly role: string; readonly lastSeq: number } {
  const live = state?.devices.get(key)
  if (live !== undefined) {
    const { name, role } = live
    return { name, role, lastSeq: permits(role, 'publish') ? Infinity : 0 }
  }
  const gone = state?.removed.get(key)
  if (gone === undefined) return { name: '', role: 'unknown', lastSeq: 0 }
  return { name: gone.name, role: 'removed', lastSeq: gone.lastSeq ?? 0 }
}

/** Why a pack does not count, if it does not. */
function misplaced({ row, lastSeq, seq, hashes }: OpenLog, pack: Pack): string | undefined {
  if (pack.seq > lastSeq) {
    return row.role === 'removed' ? 'TELEMETRY_AFTER_REMOVAL' : 'TELEMETRY_NOT_A_PUBLISHER'
  }
  const twice = pack.seq === seq && hashes.some((hash) => equalBytes(hash, pack.hash))
  return pack.seq < seq || pack.seq > row.to || pack.seq < row.from || twice
    ? 'TELEMETRY_BAD_EXPORT'
    : undefined
}

/** A pack agrees with one of those before it; what has the same number as another is a fork. */
function follow(log: OpenLog, { seq, prev, hash }: Pack): void {
  if (seq === log.seq && log.hashes.length > 0) {
    log.row.forks++
    log.hashes.push(hash)
    return
  }
  if (seq > log.seq + 1) log.row.gaps.push({ from: log.seq + 1, to: seq - 1 })
  const linked = seq > log.seq + 1 || log.hashes.length === 0
  if (!linked && !log.hashes.some((before) => equalBytes(before, prev))) log.row.forks++
  log.seq = seq
  log.hashes = [hash]
}

function noExport(): NodeError {
  return new NodeError('NODE_USAGE', 'This is no export of Kith.', {
    hint: 'Make one with: kith export -o FILE',
  })
}
