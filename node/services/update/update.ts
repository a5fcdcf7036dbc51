/**
 * Updates on one device: follows the channels of the home, fetches what is for this device from its
 * neighbours, installs it when the owners' policy allows, passes all of it on, and says how far it is.
 * A release is pursued in `track.ts`, one for each name.
 */
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'

import type { UpdateReport } from '../../../protocols/update/index.ts'
import { equalBytes } from '../../../protocols/wire/index.ts'
import { createEmitter, type Emitter } from '../../events.ts'
import { createBusy } from './busy.ts'
import { createChannels, type Channels } from './channels.ts'
import type { Exchange, FetchProgress, Source } from './exchange.ts'
import { offerKept } from './offering.ts'
import { openReportFile, type ReportFile } from './report-file.ts'
import { Track } from './track.ts'
import type { TrackDeps } from './track-words.ts'
import { TufError, type ChannelView, type Release } from './tuf/index.ts'
import type {
  InstallOutcome,
  InstallState,
  Progress,
  Updates,
  UpdatesDeps,
  UpdatesEvents,
} from './types.ts'

export type * from './types.ts'

/** Peers that say nothing and send nothing for this long will not soon. */
const QUIET_MS = 2_000

/** Served, and looking, when this resolves; ends with `signal` or when it is disposed of. */
export async function startUpdates(deps: UpdatesDeps, signal: AbortSignal): Promise<Updates> {
  signal.throwIfAborted()
  await mkdir(deps.folder, { recursive: true, mode: 0o700 })
  const service = new UpdateService(deps, signal)
  await service.start()
  return service
}

class UpdateService implements Updates {
  readonly events: Emitter<UpdatesEvents>
  readonly channels: Channels
  readonly #deps: UpdatesDeps
  readonly #stop = new AbortController()
  readonly #signal: AbortSignal
  readonly #tracks = new Map<string, Track>()
  readonly #alarms = new Set<string>()
  readonly #busy = createBusy()
  readonly #speeds = new Map<string, { readonly atMs: number; readonly bytes: number }>()
  #exchange: Exchange | undefined
  #file: ReportFile | undefined
  #alone: Promise<unknown> = Promise.resolve()
  #offering: Promise<void> = Promise.resolve()

  constructor(deps: UpdatesDeps, signal: AbortSignal) {
    this.#deps = deps
    this.#signal = AbortSignal.any([signal, this.#stop.signal])
    this.events = createEmitter((err) => deps.log.error({ err }, 'update listener failed'))
    this.channels = createChannels({
      ...deps,
      folder: `${deps.folder}/channels`,
      busy: this.#busy,
      onChange: () => void this.look(),
      onAttack: (code, peer) => this.events.emit('attack', { code, peer }),
    })
  }

  async start(): Promise<void> {
    const { policy } = this.#deps
    const file = await openReportFile(this.#deps, () => this.reports())
    this.#file = file
    const exchange = await this.#deps.exchange(
      {
        reports: file.kept,
        file: (channel, name) => this.channels.file(channel, name),
      },
      this.#signal,
    )
    this.#exchange = exchange
    exchange.events.on('report', ({ report }) => this.#reported(report), this.#signal)
    exchange.events.on('offer', ({ indexes }) => this.#offered(indexes), this.#signal)
    exchange.events.on(
      'fault',
      ({ code, peer }) => this.events.emit('attack', { code, peer }),
      this.#signal,
    )
    await this.channels.set(policy().channels)
    this.channels.attach(exchange, this.#signal)
    await this.look()
  }

  get exchange(): Exchange {
    if (this.#exchange === undefined) throw new Error('not started')
    return this.#exchange
  }

  view(channel: string): ChannelView | undefined {
    return this.channels.view(channel)
  }

  progress(): readonly Progress[] {
    return [...this.#tracks.values()].flatMap(({ progress }) => progress ?? [])
  }

  reports(): readonly UpdateReport[] {
    return this.#exchange?.reports() ?? []
  }

  async settled(signal: AbortSignal): Promise<void> {
    const over = new AbortController()
    const until = AbortSignal.any([signal, this.#signal, over.signal])
    if (until.aborted) return
    let cancel = (): void => undefined
    const heard = (): void => {
      cancel()
      cancel = this.#deps.clock.timer(QUIET_MS, () => over.abort())
    }
    heard()
    this.events.on('fetching', heard, until)
    this.exchange.events.on('offer', heard, until)
    try {
      await Promise.race([once(until, 'abort'), this.#quiet(until)])
    } finally {
      over.abort()
      cancel()
    }
  }

  /** A peer has said what it has, and nothing is under way. */
  async #quiet(until: AbortSignal): Promise<void> {
    if (this.exchange.offers().length === 0) {
      await new Promise<void>((resolve) => {
        this.exchange.events.on('offer', () => resolve(), until)
      })
    }
    await this.#busy.idle()
  }

  look(): Promise<void> {
    return this.#busy.hold(this.#look())
  }

  async #look(): Promise<void> {
    if (this.#exchange === undefined || this.#signal.aborted) return
    await this.channels.set(this.#deps.policy().channels)
    this.#alarm()
    const listed = this.channels
      .names()
      .flatMap((channel) => this.view(channel)?.releases ?? [])
      .map(({ name }) => name)
    const names = new Set([...listed, ...(await this.#deps.installs.names())])
    for (const name of names) {
      const track = this.#tracks.get(name) ?? this.#track(name)
      void track.look()
    }
    this.#offering = this.#offering
      .then(() =>
        offerKept(
          { ...this.#deps, channels: this.channels, exchange: this.exchange },
          { pursued: (id) => this.#pursued(id), signal: this.#signal },
        ),
      )
      .catch((err: unknown) => this.#deps.log.warn({ err }, 'releases could not be offered'))
  }

  async installed(): Promise<readonly InstallState[]> {
    const names = await this.#deps.installs.names()
    return Promise.all(names.map((name) => this.#deps.installs.state(name)))
  }

  async rollback(name: string, signal: AbortSignal): Promise<InstallOutcome> {
    const track = this.#tracks.get(name) ?? this.#track(name)
    return track.rollback(AbortSignal.any([signal, this.#signal]))
  }

  async fetch(
    { channel, release }: { readonly channel: string; readonly release: Release },
    signal: AbortSignal,
    onProgress?: (progress: FetchProgress) => void,
  ): Promise<{ readonly index: Uint8Array; readonly from: readonly Source[] }> {
    const until = AbortSignal.any([signal, this.#signal])
    const opened = await this.channels.index(channel, release, until)
    if (opened === undefined) throw new TufError('TUF_MISSING', release.path)
    await this.#deps.blobs.pin(
      opened.id,
      opened.chunks.map(({ hash }) => hash),
    )
    const told = onProgress === undefined ? {} : { onProgress }
    const { from } = await this.exchange.fetch(opened, until, told)
    return { index: opened.bytes, from }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('stopping'))
    await Promise.allSettled([...this.#tracks.values()].map((track) => track.idle()))
    await this.#offering
    await this.#file?.[Symbol.asyncDispose]()
    await this.#exchange?.[Symbol.asyncDispose]()
  }

  #track(name: string): Track {
    const { exchange: _, ...deps } = this.#deps
    const parts: TrackDeps = {
      ...deps,
      exchange: this.exchange,
      channels: this.channels,
      channelOf: (one) => this.#channelOf(one),
      reports: () => this.reports(),
      installed: async () => (await this.installed()).flatMap(({ installed }) => installed ?? []),
      busy: this.#busy,
      alone: (run) => this.#oneAtATime(run),
      onProgress: (progress, isNews) => this.#noted(progress, isNews),
      onFetching: (progress, fetch) => this.#fetching(progress, fetch),
      onOutcome: (outcome) => this.#ended(outcome),
      onRefused: (release, code, why) => this.events.emit('refused', { release, code, why }),
    }
    const track = new Track(name, parts, this.#signal)
    this.#tracks.set(name, track)
    return track
  }

  /** A name belongs to the first channel that lists it: no other channel can take it over. */
  #channelOf(name: string): string | undefined {
    return this.channels
      .names()
      .find((channel) => this.view(channel)?.releases.some((one) => one.name === name))
  }

  #oneAtATime<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#alone.then(run, run)
    this.#alone = result.catch(() => undefined)
    return result
  }

  #reported(report: UpdateReport): void {
    this.#file?.changed()
    this.events.emit('report', report)
    // Rings open and halt by what others say.
    void this.#tracks.get(report.name)?.look()
  }

  /** Someone has what nobody had before. */
  #offered(indexes: readonly { readonly index: Uint8Array }[]): void {
    for (const track of this.#tracks.values()) {
      const { progress } = track
      if (progress?.phase !== 'offered') continue
      if (indexes.some(({ index }) => equalBytes(index, progress.index))) void track.look()
    }
  }

  #noted(progress: Progress, isNews: boolean): void {
    if (!isNews) return
    const { why: _, untilMs: __, ring, percent, code, runs, ...rest } = progress
    const report = this.#file?.seal({
      ...rest,
      ...(ring === undefined ? {} : { ring }),
      ...(percent === undefined ? {} : { percent }),
      ...(code === undefined ? {} : { code }),
      ...(runs === undefined ? {} : { runs }),
    })
    if (report !== undefined) {
      this.exchange.report(report)
      this.#file?.changed()
      this.events.emit('report', report)
    }
    this.events.emit('progress', progress)
  }

  #fetching(progress: Progress, fetch: FetchProgress): void {
    const { clock } = this.#deps
    const before = this.#speeds.get(progress.name)
    const now = { atMs: clock.monotonic(), bytes: fetch.doneBytes }
    this.#speeds.set(progress.name, now)
    const spentMs = before === undefined ? 0 : now.atMs - before.atMs
    const bytesPerSecond =
      spentMs > 0 ? Math.max(0, ((now.bytes - (before?.bytes ?? 0)) * 1000) / spentMs) : 0
    this.events.emit('fetching', { ...progress, fetch, bytesPerSecond })
  }

  #ended(outcome: InstallOutcome): void {
    const { release } = outcome
    if (outcome.what === 'rolled-back') {
      this.events.emit('rolledBack', { release, why: outcome.why })
    }
    // Others may require what is there now.
    void this.look()
  }

  #alarm(): void {
    for (const channel of this.channels.names()) {
      for (const { name, build, a, b } of this.view(channel)?.alarms ?? []) {
        const key = `${channel} ${name} ${build} ${a} ${b}`
        if (this.#alarms.has(key)) continue
        this.#alarms.add(key)
        this.events.emit('attack', { code: 'TUF_CONFLICT', peer: undefined })
      }
    }
  }

  #pursued(id: Uint8Array): boolean {
    return this.progress().some(({ index }) => equalBytes(index, id))
  }
}
