/**
 * The candidate's side of pairing as a service: opens a window, shows its code, listens on a host of
 * its own for as long as the window lasts, and closes it for good on the first success, the last
 * try, the end of the time, or when a person stops it. What pairing means is protocols/pairing;
 * where the home is kept is the caller's `accept`.
 */
import type { Logger } from 'pino'

import { fingerprintOf, homeText, peerIdOf } from '../../protocols/identity/index.ts'
import {
  encodeQr,
  formatCode,
  join,
  openWindow,
  PairingError,
  type JoinDeps,
  type Joined,
  type PairingWindow,
  type WindowStore,
} from '../../protocols/pairing/index.ts'
import type { Channel } from '../../protocols/wire/index.ts'
import type { Clock, Random } from '../env.ts'
import { NodeError } from '../errors.ts'
import type { Journal } from '../journal.ts'

/** What stands open to strangers while the window lasts. */
export interface PairingListener extends AsyncDisposable {
  /** Where it listens, link-local addresses with their zone. */
  readonly addresses: readonly string[]
}

export interface CandidateDeps {
  /** Our public key, 32 bytes. */
  readonly key: Uint8Array
  /** What this device calls itself. */
  name(): string
  readonly store: WindowStore
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly journal: Journal
  listen(
    options: {
      readonly discriminator: string
      readonly handle: (channel: Channel, peer: Uint8Array, address: string) => Promise<void>
    },
    signal: AbortSignal,
  ): Promise<PairingListener>
  readonly accept: JoinDeps['accept']
  /** Called once the home is stored and acknowledged; gives names for people to read. */
  joined(result: Joined): { readonly homeName: string; readonly byName: string }
}

export interface WindowView {
  /** `DD-NNNN-NNNN-C` */
  readonly code: string
  /** Text of the QR code. */
  readonly qr: string
  /** Milliseconds since the Unix epoch. */
  readonly expiresAt: number
  /** Number of the newest event before the window opened. */
  readonly since: number
}

export interface PairingStatus {
  readonly open: boolean
  readonly expiresAt: number | null
  readonly triesLeft: number
}

export interface Candidate extends AsyncDisposable {
  /**
   * Open a window, for ten minutes at most; closes one that is open, which still counts.
   * @throws NodeError NODE_PAIRING where pairing was opened too often
   */
  open(options?: { readonly minutes?: number | undefined }): Promise<WindowView>
  status(): PairingStatus
  close(): Promise<void>
}

/** How long the listener outlives a success, so that the member gets our acknowledgement. */
const GRACE_MS = 1_000

interface Open {
  readonly window: PairingWindow
  readonly listener: PairingListener
  readonly expiresAt: number
  /** Runs that are under way. */
  readonly runs: Set<object>
  /** A run has ended well. */
  paired: boolean
  readonly cancelExpiry: () => void
}

interface Run {
  readonly channel: Channel
  readonly peer: Uint8Array
  readonly address: string
}

export function createCandidate(deps: CandidateDeps): Candidate {
  return new CandidateService(deps)
}

class CandidateService implements Candidate {
  readonly #deps: CandidateDeps
  readonly #stop = new AbortController()
  /** Ends when no window is being opened. */
  #turn: Promise<unknown> = Promise.resolve()
  #current: Open | undefined

  constructor(deps: CandidateDeps) {
    this.#deps = deps
  }

  open({
    minutes = Infinity,
  }: { readonly minutes?: number | undefined } = {}): Promise<WindowView> {
    // One after the other: of two windows at once, one could never be closed.
    const opening = this.#turn.then(() => this.#open(minutes))
    this.#turn = opening.catch(() => undefined)
    return opening
  }

  async #open(minutes: number): Promise<WindowView> {
    const { clock, journal } = this.#deps
    this.#stop.signal.throwIfAborted()
    await this.#closeCurrent()
    const since = journal.last
    const window = orTooOften(() => openWindow(this.#deps))
    const { promise: ready, resolve } = Promise.withResolvers<Open>()
    const listener = await this.#deps.listen(
      {
        discriminator: window.code.discriminator,
        handle: async (channel, peer, address) =>
          this.#answer(await ready, { channel, peer, address }),
      },
      this.#stop.signal,
    )
    const openMs = Math.min(window.remainingMs, minutes * 60_000)
    const expiresAt = Math.round(clock.now() + openMs)
    const cancelExpiry = clock.timer(openMs, () => void this.#end(opened, 'expired'))
    const opened: Open = {
      window,
      listener,
      runs: new Set(),
      paired: false,
      expiresAt,
      cancelExpiry,
    }
    this.#current = opened
    resolve(opened)
    return { code: formatCode(window.code), qr: this.#qrText(opened), expiresAt, since }
  }

  status(): PairingStatus {
    if (this.#current === undefined) return { open: false, expiresAt: null, triesLeft: 0 }
    const { window, expiresAt } = this.#current
    return { open: window.state === 'open', expiresAt, triesLeft: window.triesLeft }
  }

  async close(): Promise<void> {
    // One that is just being opened as well, which nobody could close otherwise.
    await this.#turn
    await this.#closeCurrent()
  }

  async #closeCurrent(): Promise<void> {
    if (this.#current !== undefined) await this.#end(this.#current, 'stopped')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('stopping'))
    await this.close()
  }

  async #answer(opened: Open, run: Run): Promise<void> {
    const { key: candidateKey, random, accept, journal, clock } = this.#deps
    const { window } = opened
    opened.runs.add(run)
    try {
      const { channel, peer: memberKey } = run
      const name = this.#deps.name()
      const result = await join(channel, { candidateKey, memberKey, name, window, random, accept })
      const by = peerIdOf(memberKey)
      journal.record('pairing.paired', {
        home: homeText(result.home),
        ...this.#deps.joined(result),
        role: result.role,
        by,
        byFingerprint: fingerprintOf(memberKey),
        fingerprint: fingerprintOf(candidateKey),
      })
      opened.paired = true
      clock.timer(GRACE_MS, () => void this.#end(opened, 'paired'))
    } catch (error) {
      this.#report(error, window, run)
      throw error
    } finally {
      opened.runs.delete(run)
      // The last try may be under way in another run: then that one ends the window.
      if (opened.runs.size === 0 && !opened.paired) {
        if (window.state === 'spent') void this.#end(opened, 'spent')
        // Proved once and then lost: it cannot be proved again.
        if (window.state === 'used') void this.#end(opened, 'interrupted')
      }
    }
  }

  #report(error: unknown, { triesLeft }: PairingWindow, { peer, address }: Run): void {
    const { log, journal } = this.#deps
    const code = error instanceof PairingError ? error.code : 'WIRE'
    log.warn({ peer: peerIdOf(peer), address, code }, 'pairing refused')
    if (code !== 'PAIRING_CODE_MISMATCH') return
    const text = `A wrong code was tried from ${hostOf(address)}, by the device ${fingerprintOf(peer)}.`
    journal.record('pairing.tried', { text, triesLeft })
  }

  async #end(which: Open, reason: string): Promise<void> {
    if (this.#current !== which) return
    this.#current = undefined
    which.window.close()
    which.cancelExpiry()
    this.#deps.journal.record('pairing.closed', { reason })
    try {
      await which.listener[Symbol.asyncDispose]()
    } catch (err) {
      // The window is closed whatever became of its host: each run asks it before it answers.
      this.#deps.log.warn({ err }, 'pairing host did not close cleanly')
    }
  }

  #qrText({ window, listener }: Open): string {
    return encodeQr({
      key: this.#deps.key,
      secret: window.qrSecret,
      discriminator: window.code.discriminator,
      // Our zones mean nothing to another machine.
      addresses: listener.addresses
        .filter((one) => !one.startsWith('/ip6zone/') && one.length <= 100)
        .slice(0, 4),
    })
  }
}

/** `fe80::1%eth0` of `/ip6zone/eth0/ip6/fe80::1/tcp/1`. */
function hostOf(address: string): string {
  const [, zone, host = address] = /^(?:\/ip6zone\/([^/]+))?\/ip[46]\/([^/]+)/.exec(address) ?? []
  return zone === undefined ? host : `${host}%${zone}`
}

function orTooOften<T>(act: () => T): T {
  try {
    return act()
  } catch (cause) {
    if (!(cause instanceof PairingError) || cause.code !== 'PAIRING_TOO_OFTEN') throw cause
    const minutes = Math.ceil((cause.retryInMs ?? 0) / 60_000)
    throw new NodeError('NODE_PAIRING', cause.message, {
      cause,
      hint: `Nothing is open. Try again in ${minutes} ${minutes === 1 ? 'minute' : 'minutes'}.`,
    })
  }
}
