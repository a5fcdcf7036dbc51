/**
 * One name on this device: from a release that a channel lists to one that runs and is well, or back.
 * It looks again whenever anything may have changed, and goes on where it was after a kill: what is
 * fetched is in the blob store, what is installed in the installer's journal.
 */
import {
  ROLLOUT,
  type Decision,
  type OpenedIndex,
  type UpdateReport,
} from '../../../protocols/update/index.ts'
import { equalBytes, toHex } from '../../../protocols/wire/index.ts'
import { asError } from '../../errors.ts'
import { createNeed, type Need } from './busy.ts'
import { decideHere, heldWords, UNFETCHED, wantedOf } from './choice.ts'
import type { FetchProgress } from './exchange.ts'
import { dropFile, gather, isHere, putTogether, Sources, type GatherDeps } from './gather.ts'
import { QUIET, quietHere, whenQuiet } from './quiet.ts'
import {
  codeOf,
  idOf,
  installableOf,
  isSaid,
  progressOf,
  retryOf,
  saidAgain,
  sameWord,
  UNKNOWN,
  type At,
  type Said,
  type TrackDeps,
  type Work,
} from './track-words.ts'
import { blockedText, type Release } from './tuf/index.ts'
import type { Installable, InstallOutcome, InstallState, Progress } from './types.ts'

const RETRY_MS = 60_000
/** A signed word about a fetch is said this often at the most. */
const TELL_MS = 5_000

/** What is to be done changed while it was done. */
class Changed extends Error {}

export class Track {
  readonly name: string
  readonly #deps: TrackDeps
  readonly #signal: AbortSignal
  readonly #others: Need
  readonly #refused = new Set<string>()
  /** When a release was seen first, by id. */
  readonly #known = new Map<string, number>()
  #progress: Progress | undefined
  #running: Promise<void> | undefined
  #again = false
  #resumed = false
  #cancelTimer = (): void => undefined
  /** What is being fetched, and how that is ended. */
  #fetching: { readonly id: string; readonly stop: AbortController } | undefined
  #state: InstallState = { ill: [] }
  #toldMs = -Infinity
  /** What is being pursued. */
  #at: At | undefined

  constructor(name: string, deps: TrackDeps, signal: AbortSignal) {
    this.name = name
    this.#deps = deps
    this.#signal = signal
    this.#others = createNeed(deps.busy)
    signal.addEventListener('abort', () => this.#cancelTimer(), { once: true })
  }

  get progress(): Progress | undefined {
    return this.#progress
  }

  /** Look again, now or when what runs is over. */
  look(): Promise<void> {
    this.#again = true
    this.#interrupt()
    this.#others.needed()
    this.#running ??= this.#loop().finally(() => {
      this.#running = undefined
      this.#others.enough()
    })
    return this.#running
  }

  async idle(): Promise<void> {
    await this.#running
  }

  async rollback(signal: AbortSignal): Promise<InstallOutcome> {
    const outcome = await this.#deps.installs.rollback(this.name, signal)
    await this.#ended(outcome, new Sources(), 'ROLLBACK_BY_HAND')
    void this.look()
    return outcome
  }

  async #loop(): Promise<void> {
    while (this.#again && !this.#signal.aborted) {
      this.#again = false
      this.#cancelTimer()
      const againMs = await this.#once().catch((error: unknown) => this.#failed(error))
      if (againMs !== undefined && !this.#signal.aborted) {
        this.#cancelTimer = this.#deps.clock.timer(againMs, () => void this.look())
      }
    }
  }

  /** @returns when to look again without anything having happened */
  async #once(): Promise<number | undefined> {
    const { installs, channels, channelOf } = this.#deps
    if (!this.#resumed) await this.#resume()
    this.#state = await installs.state(this.name)
    const channel = channelOf(this.name)
    const release = this.#wanted()
    if (channel === undefined || release === undefined) return this.#settled(channel)
    if (!this.#known.has(release.sha256)) this.#known.set(release.sha256, this.#deps.clock.now())
    this.#at = { channel, release }
    const opened = await channels.index(channel, release, this.#signal)
    if (opened === undefined) {
      this.#tellOf({ channel, release }, { phase: 'offered', why: 'no device here has its index' })
      return RETRY_MS
    }
    return this.#pursue({ channel, release, opened, state: this.#state, from: new Sources() })
  }

  async #pursue(work: Work): Promise<number | undefined> {
    const { channel, opened } = work
    const { facts } = this.#deps
    const { blocked } = this.#deps.channels.view(channel) ?? {}
    if (blocked !== undefined) {
      this.#tellOf(work, {
        phase: 'waiting',
        code: blocked.code,
        why: blockedText(blocked, this.#deps.clock.now()),
      })
      return RETRY_MS
    }
    const before = await this.#decide(opened)
    if (!before.go && UNFETCHED.has(before.why)) return this.#hold(work, before)
    const quiet = quietHere(facts)
    if (quiet.now && !isHere(opened, this.#deps.blobs)) {
      this.#tellOf(work, QUIET)
      return quiet.againMs
    }
    await this.#gather(work, quiet.againMs)
    const now = await this.#decide(opened)
    this.#others.enough()
    if (!now.go) return this.#hold(work, now)
    return this.#install(work, now.ring)
  }

  #wanted(): Release | undefined {
    const { channels, channelOf, policy } = this.#deps
    const channel = channelOf(this.name)
    const listed = channel === undefined ? [] : (channels.view(channel)?.releases ?? [])
    return wantedOf(
      listed.filter(({ name }) => name === this.name),
      this.#state,
      { rollout: policy().rollout, refused: this.#refused },
    )
  }

  async #decide(opened: OpenedIndex): Promise<Decision> {
    const { policy, reports, installed } = this.#deps
    const id = toHex(opened.id)
    const known = {
      opened,
      rollout: policy().rollout,
      reports: reports(),
      installed: await installed(),
      knownMs: this.#known.get(id) ?? this.#deps.clock.now(),
    }
    return decideHere(known, this.#deps)
  }

  #hold(work: Work, held: Extract<Decision, { go: false }>): number {
    this.#tellOf(work, heldWords(held))
    const leftMs = (held.untilMs ?? Number.POSITIVE_INFINITY) - this.#deps.clock.now()
    return Math.max(1, Math.min(ROLLOUT.lookMs, leftMs))
  }

  async #gather(work: Work, quietMs: number): Promise<void> {
    const stop = new AbortController()
    this.#fetching = { id: work.release.sha256, stop }
    const cancel = whenQuiet(this.#deps, quietMs, () => {
      this.#again = true
      stop.abort(new Changed('quiet hours'))
    })
    try {
      const until = AbortSignal.any([this.#signal, stop.signal])
      await gather(this.#gathering(work), this.#gatherDeps(), until)
    } finally {
      cancel()
      this.#fetching = undefined
    }
  }

  async #install(work: Work, ring: number): Promise<number | undefined> {
    const { installs, alone } = this.#deps
    const release = installableOf(work.opened)
    const { trial } = work.state
    const isStaged = trial?.phase === 'staged' && trial.release.id === release.id
    if (!isStaged) await alone(() => this.#stage(work, release))
    this.#tellOf(work, { phase: 'installed', ring })
    const outcome = await installs.switch(this.name, this.#signal)
    await this.#ended(outcome, work.from)
    await dropFile(this.#deps, work.opened.id)
    this.#again = true
    return undefined
  }

  async #stage(work: Work, release: Installable): Promise<void> {
    const file = await putTogether(this.#gathering(work), this.#gatherDeps(), this.#signal)
    await this.#deps.installs.stage(release, file, this.#signal)
    await dropFile(this.#deps, work.opened.id)
    this.#tellOf(work, { phase: 'staged' })
  }

  /** Once, before anything else: what a kill or a restart cut short. */
  async #resume(): Promise<void> {
    const outcome = await this.#deps.installs.resume(this.name, this.#signal)
    this.#resumed = true
    if (outcome !== undefined && outcome.what !== 'staged')
      await this.#ended(outcome, new Sources())
  }

  /** It has what it should have. */
  #settled(channel: string | undefined): undefined {
    const { installed } = this.#state
    if (installed === undefined || channel === undefined) return undefined
    if (!isSaid(this.#lastWord(), installed))
      this.#tellOf({ channel, release: installed }, { phase: 'healthy' })
    return undefined
  }

  async #ended(outcome: InstallOutcome, from: Sources, code?: string): Promise<void> {
    const { release, what } = outcome
    this.#state = await this.#deps.installs.state(this.name)
    const channel = this.#deps.channelOf(release.name)
    const at = { channel: channel ?? 'home', release, from }
    if (what === 'installed') this.#tellOf(at, { phase: 'healthy' })
    if (what === 'restarting') this.#tellOf(at, { phase: 'installed' })
    if (outcome.what === 'rolled-back') {
      this.#tellOf(at, { phase: 'rolled-back', code: code ?? 'UPDATE_ILL', why: outcome.why })
    }
    this.#deps.onOutcome(outcome)
  }

  #failed(error: unknown): number | undefined {
    if (this.#signal.aborted || error instanceof Changed) return undefined
    const { message: why } = asError(error)
    const code = codeOf(error)
    this.#deps.log.warn({ name: this.name, code, why }, 'an update did not go on')
    const at = this.#at
    if (at === undefined || code === UNKNOWN) return RETRY_MS
    this.#tellOf(at, { phase: 'refused', code, why })
    const retryMs = retryOf(code)
    if (retryMs !== undefined) return retryMs
    const { name, version, build } = at.release
    const id = idOf(at.release)
    this.#refused.add(id)
    this.#deps.onRefused({ id, name, version, build }, code, why)
    return undefined
  }

  #gathering({ opened, state, from, ...rest }: Work) {
    const at = { ...rest, from }
    let [lastBytes, lastMs] = [-1, 0]
    return {
      opened,
      installed: state.installed,
      from,
      onProgress: (fetch: FetchProgress): void => {
        if (fetch.chunks === 0) return
        const percent = Math.floor((fetch.doneBytes * 100) / Math.max(1, fetch.bytes))
        const nowMs = this.#deps.clock.monotonic()
        const isNews = lastBytes < 0 || nowMs - this.#toldMs >= TELL_MS
        if (lastBytes >= 0 && fetch.doneBytes === lastBytes && nowMs - lastMs < 1_000) return
        ;[lastBytes, lastMs] = [fetch.doneBytes, nowMs]
        const progress = this.#progressOf(at, { phase: 'fetching', percent })
        if (isNews) this.#note(progress)
        else this.#progress = progress
        this.#deps.onFetching(progress, fetch)
      },
    }
  }

  #gatherDeps(): GatherDeps {
    const { channels, channelOf } = this.#deps
    return {
      ...this.#deps,
      indexOf: async ({ name, id }) => {
        const channel = channelOf(name)
        const listed = channel === undefined ? undefined : channels.view(channel)?.releases
        const found = listed?.find(({ sha256 }) => sha256 === id)
        if (channel === undefined || found === undefined) return undefined
        return channels.kept(channel, found, this.#signal)
      },
    }
  }

  /** A fetch of what is no longer wanted ends. */
  #interrupt(): void {
    const { policy } = this.#deps
    if (this.#fetching === undefined) return
    const { paused } = policy().rollout
    const isPaused = paused.some((one) => one === '*' || one === this.name)
    if (isPaused || this.#wanted()?.sha256 !== this.#fetching.id) {
      this.#fetching.stop.abort(new Changed('something else is wanted'))
    }
  }

  #tellOf(at: At, said: Said): void {
    this.#note(this.#progressOf(at, said))
  }

  #progressOf(at: At, said: Said): Progress {
    return progressOf(at, said, { before: this.#progress, installed: this.#state.installed })
  }

  #note(progress: Progress): void {
    const isNews = !sameWord(this.#progress, progress) && !this.#isOutranked(progress)
    this.#progress = progress
    if (isNews) this.#toldMs = this.#deps.clock.monotonic()
    this.#deps.onProgress(progress, isNews)
    const again = isNews ? undefined : saidAgain(this.#lastWord(), progress)
    if (again !== undefined) this.#deps.onProgress(again, true)
  }

  /** That a newer build was ill stays said: it holds up the others. An owner who pins knows better. */
  #isOutranked({ build }: Progress): boolean {
    const last = this.#lastWord()
    const isPinned = this.#deps.policy().rollout.pins.some(({ name }) => name === this.name)
    return last?.phase === 'rolled-back' && last.build > build && !isPinned
  }

  #lastWord(): UpdateReport | undefined {
    const { signer, reports } = this.#deps
    return reports().find(
      ({ device, name }) => name === this.name && equalBytes(device, signer.key),
    )
  }
}
