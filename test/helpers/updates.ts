/** The device's part of updates with a neighbour that has everything, and installers in memory. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import pino from 'pino'

import { createEmitter } from '../../node/events.ts'
import type { Exchange, ExchangeEvents, FetchOptions } from '../../node/services/update/exchange.ts'
import {
  startUpdates,
  type Installable,
  type Installing,
  type InstallOutcome,
  type InstallState,
  type Progress,
  type Updates,
  type UpdatesDeps,
} from '../../node/services/update/update.ts'
import { openBlobs, type BlobStore } from '../../node/storage/blobs.ts'
import {
  DEFAULT_ROLLOUT,
  encodeIndex,
  isNewer,
  sealUpdateReport,
  type OpenedIndex,
  type Phase,
  type ReleaseIndex,
  type Rollout,
  type UpdateReport,
} from '../../protocols/update/index.ts'
import { sha256 } from '../../protocols/identity/index.ts'
import { equalBytes, toHex, utf8 } from '../../protocols/wire/index.ts'
import { virtualClock, type VirtualClock } from './clock.ts'
import { CONTEXT, deviceOf, HOME } from './telemetry.ts'
import { Channel, START_MS } from './tuf.ts'

export const SELF = deviceOf('self')
export const PEER = deviceOf('peer')

/** A release of one chunk. */
export function releaseOf(build: number, more: Partial<ReleaseIndex> = {}): OpenedIndex {
  const raw = utf8(`content ${build} ${more.name ?? 'app'}`)
  return encodeIndex({
    v: 1,
    name: 'app',
    version: `${build}.0`,
    build,
    for: { hardware: [], arch: [], groups: [], requires: [] },
    installer: 'exec',
    args: {},
    form: 'file',
    rawBytes: raw.length,
    rawHash: sha256(raw),
    chunks: [{ hash: sha256(raw), raw: raw.length, stored: raw.length, codec: 0 }],
    ...more,
  })
}

/** Installs in memory; `ill` and `broken` are builds. */
export class FakeInstalls implements Installing {
  readonly states = new Map<string, InstallState>()
  readonly steps: string[] = []
  readonly ill = new Set<number>()
  /** Code of the error that staging a build ends with. */
  readonly broken = new Map<number, string>()
  /** Switching waits for this. */
  gate: Promise<void> = Promise.resolve()

  names(): Promise<readonly string[]> {
    return Promise.resolve([...this.states.keys()])
  }

  state(name: string): Promise<InstallState> {
    return Promise.resolve(this.states.get(name) ?? { ill: [] })
  }

  async stage(release: Installable): Promise<void> {
    this.steps.push(`stage ${release.build}`)
    const code = this.broken.get(release.build)
    if (code !== undefined) throw Object.assign(new Error(`cannot: ${code}`), { code })
    const before = await this.state(release.name)
    this.states.set(release.name, { ...before, trial: { phase: 'staged', release } })
  }

  async switch(name: string, signal: AbortSignal): Promise<InstallOutcome> {
    const { trial, installed, previous, ill } = await this.state(name)
    if (trial === undefined) throw new Error('nothing is staged')
    const { release } = trial
    this.steps.push(`switch ${release.build}`)
    await this.gate
    signal.throwIfAborted()
    if (this.ill.has(release.build)) {
      this.states.set(name, { installed, previous, ill: [...ill, release.id] })
      return { what: 'rolled-back', release, why: 'it does not answer' }
    }
    this.states.set(name, { installed: release, previous: installed, ill })
    return { what: 'installed', release }
  }

  async resume(name: string): Promise<InstallOutcome | undefined> {
    const { trial } = await this.state(name)
    return trial === undefined ? undefined : { what: 'staged', release: trial.release }
  }

  async rollback(name: string): Promise<InstallOutcome> {
    const { installed, previous, ill } = await this.state(name)
    if (installed === undefined || previous === undefined) throw new Error('no way back')
    this.states.set(name, { installed: previous, ill: [...ill, installed.id] })
    return { what: 'rolled-back', release: installed, why: 'by hand' }
  }

  discard(): Promise<void> {
    return Promise.resolve()
  }

  bytesOf(): Promise<undefined> {
    return Promise.resolve(undefined)
  }
}

/** One neighbour that offers a channel and every release in it. */
class Neighbour implements Exchange {
  readonly events = createEmitter<ExchangeEvents>((error) => {
    throw error
  })
  readonly fetched: string[] = []
  readonly #room: UpdateRoom
  readonly #reports = new Map<string, UpdateReport>()

  constructor(room: UpdateRoom, kept: readonly UpdateReport[] = []) {
    this.#room = room
    for (const report of kept) this.report(report)
  }

  offer(): void {}
  withdraw(): void {}
  announce(): void {}

  offers(): readonly ExchangeEvents['offer'][] {
    const timestamp = this.#room.channel.version.timestamp
    const channels = [{ name: 'home', timestamp }]
    return [{ peer: PEER.key, channels, indexes: [] }]
  }

  async fetch(release: OpenedIndex, signal: AbortSignal, { onProgress }: FetchOptions = {}) {
    this.fetched.push(`${release.index.name} ${release.index.build}`)
    const [chunk] = release.chunks
    if (chunk === undefined) throw new Error('no chunk')
    onProgress?.({ chunks: 1, done: 0, bytes: chunk.stored, doneBytes: 0, peers: 1 })
    await this.#room.until(this.#room.lets, signal)
    const content = utf8(`content ${release.index.build} ${release.index.name}`)
    await this.#room.blobs.put(chunk, { codec: 0, bytes: content })
    const bytes = content.length
    const from = [{ peer: PEER.key, bytes }]
    return { from, fetchedBytes: bytes, wastedBytes: 0, reused: 0 }
  }

  ask(_peer: Uint8Array, { file }: { readonly file: string }): Promise<Uint8Array | undefined> {
    this.#room.asked.push(file)
    return Promise.resolve(this.#room.channel.files.get(file))
  }

  report(report: UpdateReport): void {
    const key = `${toHex(report.device)} ${report.name}`
    if (isNewer(report, this.#reports.get(key))) this.#reports.set(key, report)
  }

  again(): void {}

  reports(): readonly UpdateReport[] {
    return [...this.#reports.values()]
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve()
  }
}

export interface RoomOptions {
  readonly devices?: readonly Uint8Array[]
  readonly rollout?: Partial<Rollout>
  readonly deps?: Partial<UpdatesDeps>
}

export class UpdateRoom implements AsyncDisposable {
  readonly channel = new Channel()
  readonly clock: VirtualClock = virtualClock(START_MS)
  readonly installs = new FakeInstalls()
  readonly folder: string
  readonly blobs: BlobStore
  rollout: Rollout
  quality: 'synced' | 'unset' = 'synced'
  /** Fetches wait for this. */
  lets: Promise<void> = Promise.resolve()
  /** All that this device said, oldest first. */
  readonly said: string[] = []
  readonly attacks: string[] = []
  /** Files that were asked for. */
  readonly asked: string[] = []
  readonly #options: RoomOptions
  readonly #waiting = new Set<() => void>()
  #stop = new AbortController()
  #neighbour: Neighbour
  #updates: Updates | undefined

  private constructor(folder: string, blobs: BlobStore, options: RoomOptions) {
    this.folder = folder
    this.blobs = blobs
    this.#options = options
    this.rollout = { ...DEFAULT_ROLLOUT, ...options.rollout }
    this.#neighbour = new Neighbour(this)
  }

  static async open(options: RoomOptions = {}): Promise<UpdateRoom> {
    const folder = await mkdtemp(join(tmpdir(), 'kith-updates-'))
    const clock = { now: () => START_MS }
    const blobs = await openBlobs({ folder: join(folder, 'chunks'), maxBytes: 1e8, clock })
    return new UpdateRoom(folder, blobs, options)
  }

  get updates(): Updates {
    if (this.#updates === undefined) throw new Error('not started')
    return this.#updates
  }

  get fetched(): readonly string[] {
    return this.#neighbour.fetched
  }

  /** The owner lists these, and the neighbour says so. */
  async publish(...releases: readonly OpenedIndex[]): Promise<void> {
    this.channel.list({ add: releases.map(({ bytes }) => bytes) })
    await this.tell()
  }

  /** The neighbour says how new its files are. */
  async tell(): Promise<void> {
    for (const offer of this.#neighbour.offers()) this.#neighbour.events.emit('offer', offer)
    await this.clock.advance(0)
  }

  async start(): Promise<void> {
    this.#stop = new AbortController()
    this.#updates = await startUpdates(
      {
        folder: join(this.folder, 'state'),
        workFolder: join(this.folder, 'work'),
        home: HOME,
        signer: SELF,
        verifier: CONTEXT.verifier,
        clock: this.clock,
        log: pino({ level: 'silent' }),
        time: () => ({ nowMs: this.clock.now(), floorMs: 0, quality: this.quality }),
        policy: () => ({
          channels: [{ name: 'home', root: this.channel.pin }],
          rollout: this.rollout,
        }),
        devices: () => this.#options.devices ?? [SELF.key],
        blobs: this.blobs,
        exchange: ({ reports }) => {
          this.#neighbour = new Neighbour(this, reports)
          return Promise.resolve(this.#neighbour)
        },
        installs: this.installs,
        facts: {
          hardware: ['pi'],
          arch: ['arm64'],
          busy: () => false,
          minute: () => 600,
          memoryBytes: () => 0,
        },
        installing: true,
        ...this.#options.deps,
      },
      this.#stop.signal,
    )
    const { events } = this.#updates
    events.on('progress', (one) => this.#heard(one))
    events.on('attack', ({ code }) => {
      this.attacks.push(code)
      this.#wake()
    })
    await this.clock.advance(0)
  }

  /** The process ends at once. */
  async kill(): Promise<void> {
    this.#stop.abort(new Error('killed'))
    await this.#updates?.[Symbol.asyncDispose]()
  }

  /** Resolves when this was said, now or before. */
  async says(word: string): Promise<void> {
    while (!this.said.includes(word)) {
      await new Promise<void>((resolve) => this.#waiting.add(resolve))
    }
  }

  /** Resolves when this was taken for an attack, now or before. */
  async attacked(code: string): Promise<void> {
    while (!this.attacks.includes(code)) {
      await new Promise<void>((resolve) => this.#waiting.add(resolve))
    }
  }

  /** Another device says how far it is. */
  hear(device: ReturnType<typeof deviceOf>, release: OpenedIndex, phase: Phase): UpdateReport {
    const { name, version, build } = release.index
    const at = this.clock.now()
    const seq = at + this.said.length + 1
    const report = sealUpdateReport(
      {
        seq,
        at,
        clock: 'synced',
        channel: 'home',
        name,
        version,
        build,
        index: release.id,
        phase,
        from: [],
      },
      HOME,
      device,
    )
    this.#neighbour.report(report)
    this.#neighbour.events.emit('report', { report, from: PEER.key })
    return report
  }

  /** What others know of this device. */
  lastReport(): UpdateReport | undefined {
    return this.#neighbour.reports().find(({ device }) => equalBytes(device, SELF.key))
  }

  async until(gate: Promise<void>, signal: AbortSignal): Promise<void> {
    const { promise, reject } = Promise.withResolvers<never>()
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
    signal.throwIfAborted()
    await Promise.race([gate, promise])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    await this.blobs[Symbol.asyncDispose]()
    await rm(this.folder, { recursive: true, force: true })
  }

  #heard({ name, build, phase, code }: Progress): void {
    this.said.push(`${name} ${build} ${phase}${code === undefined ? '' : ` ${code}`}`)
    this.#wake()
  }

  #wake(): void {
    for (const wake of this.#waiting) wake()
    this.#waiting.clear()
  }
}
