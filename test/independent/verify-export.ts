/** The check of an export by section 7.1 of the SPEC of telemetry. */
import { cdeDecodeOptions, decodeSequence, encode } from 'cbor2'

import {
  asBytes,
  asNumber,
  hex,
  openPack,
  peerId,
  Refused,
  sha256,
  type Fields,
  type PackFacts,
} from './documents.ts'
import { Home } from './home.ts'

export interface Log {
  readonly device: string
  readonly role: string
  readonly from: number
  readonly to: number
  packs: number
  readings: number
  readonly gaps: { from: number; to: number }[]
  forks: number
  refused: number
}

export interface Found {
  readonly ok: boolean
  readonly complete: boolean
  readonly ops: number
  readonly packs: number
  readonly readings: number
  readonly gaps: number
  readonly forks: number
  readonly refused: number
  readonly logs: readonly Log[]
}

interface Current {
  readonly log: Log
  readonly device: Uint8Array
  readonly lastSeq: number
  seq: number
  hashes: string[]
}

export async function verifyIndependently(file: Uint8Array): Promise<Found> {
  // The library does not take a Buffer for bytes.
  const plain = Uint8Array.from(file)
  const check = new Check(plain)
  try {
    for (const item of decodeSequence(plain, { ...cdeDecodeOptions, preferMap: true })) {
      await check.take(item)
    }
  } catch {
    check.broken()
  }
  return check.found()
}

class Check {
  readonly #file: Uint8Array
  readonly #logs: Log[] = []
  #home: Home | undefined
  #homeId = new Uint8Array()
  #current: Current | undefined
  #items = 0
  #wrong = false
  #complete = false

  constructor(file: Uint8Array) {
    this.#file = file
  }

  broken(): void {
    this.#wrong = true
    this.#complete = false
  }

  async take(item: unknown): Promise<void> {
    if (this.#complete) throw new Refused('after the end')
    if (item instanceof Uint8Array) await this.#document(item)
    else if (item instanceof Map) this.#part(item)
    else throw new Refused('item')
    this.#items++
  }

  found(): Found {
    this.#close()
    const sum = (of: (log: Log) => number): number =>
      this.#logs.reduce((total, log) => total + of(log), 0)
    const forks = sum((log) => log.forks)
    return {
      ok: this.#complete && !this.#wrong && forks === 0,
      complete: this.#complete,
      ops: this.#home?.size ?? 0,
      packs: sum((log) => log.packs),
      readings: sum((log) => log.readings),
      gaps: sum((log) => log.gaps.length),
      forks,
      refused: sum((log) => log.refused),
      logs: this.#logs,
    }
  }

  #part(part: Fields): void {
    this.#close()
    const kind = part.get(1)
    if (kind === 'kith-export-v1') {
      if (this.#home !== undefined) throw new Refused('a second header')
      this.#homeId = Uint8Array.from(asBytes(part.get(2), 32))
      asBytes(part.get(3), 32)
      asNumber(part.get(4))
      this.#home = new Home(this.#homeId)
    } else if (kind === 'log') this.#open(part)
    else if (kind === 'end') this.#end(part)
    else throw new Refused('part')
  }

  #open(part: Fields): void {
    const device = asBytes(part.get(2), 32)
    const place = this.#home?.placeOf(device) ?? { role: 'unknown', lastSeq: 0 }
    const [from, to] = [asNumber(part.get(3)), asNumber(part.get(4))]
    const counts = { packs: 0, readings: 0, gaps: [], forks: 0, refused: 0 }
    const log = { device: peerId(device), role: place.role, from, to, ...counts }
    this.#logs.push(log)
    const seq = Math.max(0, from - 1)
    this.#current = { log, device, lastSeq: place.lastSeq, seq, hashes: [] }
  }

  #close(): void {
    const { log, seq } = this.#current ?? {}
    if (log !== undefined && seq !== undefined && log.to > seq) {
      log.gaps.push({ from: seq + 1, to: log.to })
    }
    this.#current = undefined
  }

  #end(part: Fields): void {
    const before = this.#file.subarray(0, this.#file.length - encode(part).length)
    const right =
      part.get(2) === this.#items && hex(asBytes(part.get(3), 32)) === hex(sha256(before))
    this.#complete = right
    if (!right) this.#wrong = true
  }

  async #document(bytes: Uint8Array): Promise<void> {
    if (this.#home === undefined) throw new Refused('no header')
    const current = this.#current
    try {
      if (current === undefined) await this.#home.add(bytes)
      else follow(current, await openPack(bytes, this.#homeId, current.device))
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      this.#wrong = true
      if (current !== undefined) current.log.refused++
    }
  }
}

function follow(current: Current, { seq, prev, hash, readings }: PackFacts): void {
  const { log, lastSeq } = current
  const again = seq === current.seq && current.hashes.includes(hash)
  const low = Math.max(current.seq, log.from)
  if (again || seq < low || seq > Math.min(lastSeq, log.to)) throw new Refused('number')
  log.packs++
  log.readings += readings
  if (seq === current.seq && current.hashes.length > 0) {
    log.forks++
    current.hashes.push(hash)
    return
  }
  const next = seq === current.seq + 1
  if (!next) log.gaps.push({ from: current.seq + 1, to: seq - 1 })
  if (next && current.hashes.length > 0 && !current.hashes.includes(prev)) log.forks++
  current.seq = seq
  current.hashes = [hash]
}
