/**
 * The side that calls. A call that was sent is pursued until its receipt is here or its time is over,
 * whoever waits for it: over broken streams and restarts the same bytes go again, and the callee
 * executes them once. For a device that sleeps a call is handed to the mailbox.
 */
import { setImmediate } from 'node:timers/promises'

import {
  CallsError,
  NONCE_BYTES,
  openReceipt,
  sealCall,
  type Call,
  type Receipt,
  type Verb,
} from '../../../protocols/calls/index.ts'
import { IdentityError, type Verifier } from '../../../protocols/identity/index.ts'
import { equalBytes, toHex, WireError } from '../../../protocols/wire/index.ts'
import { isUnderway } from '../../call-state.ts'
import { cancelledBy } from './batch.ts'
import type { CallRecord, CallsDeps, HeldView, WantedCall } from './calls.ts'
import { createIssue } from './issue.ts'
import type { Links } from './links.ts'
import { madeBy, stateBy, type Made, type Open } from './made.ts'
import { AHEAD_MS } from './refusal.ts'

export interface CallerSide {
  call(wanted: WantedCall, signal: AbortSignal): Promise<CallRecord>
  cancel(id: Uint8Array, signal: AbortSignal): Promise<CallRecord>
  wait(id: Uint8Array, signal: AbortSignal): Promise<CallRecord>
  settled(receipt: Uint8Array): void
  moved(id: Uint8Array, view: HeldView): void
  readonly made: Made
  /** Resolves when nothing is pursued any more, once `until` has aborted. */
  done(): Promise<void>
}

export interface CallerParts {
  readonly links: Links
  /** Executes a call to this device itself. */
  readonly here: (bytes: Uint8Array) => Promise<Uint8Array>
  readonly tell: (record: CallRecord) => void
  /** What this device signs is wrong, as nobody else can have made it. */
  readonly distrust: (device: Uint8Array, error: IdentityError) => void
  /** Under which key only the last of several calls counts; undefined where each does. */
  readonly coalesceKey: (wanted: WantedCall) => string | undefined
}

interface Wanted extends Omit<WantedCall, 'verb'> {
  readonly verb: Verb
}

const RETRY_MS = 1000
const TTL_MS = 30_000
/** Of a call to a sleeper, beyond the time at which it is due. */
const SLEEPER_TTL_MS = 3_600_000
const MAX_TTL_MS = 30 * 86_400_000

export function createCallerSide(
  deps: CallsDeps,
  parts: CallerParts,
  until: AbortSignal,
): CallerSide {
  return new Outgoing(deps, parts, until)
}

class Outgoing implements CallerSide {
  readonly made: Made
  readonly #deps: CallsDeps
  readonly #parts: CallerParts
  readonly #until: AbortSignal
  readonly #issue: ReturnType<typeof createIssue>
  readonly #pursued = new Set<Promise<void>>()
  /** Of the next call, made when the one before was answered. */
  #nonce: Uint8Array | undefined

  constructor(deps: CallsDeps, parts: CallerParts, until: AbortSignal) {
    this.#deps = deps
    this.#parts = parts
    this.#until = until
    this.#issue = createIssue(deps)
    this.made = madeBy(deps, parts.tell)
    for (const open of this.made.open()) {
      this.#follow(open.state === 'sent' ? this.#pursue(open) : this.#holdAgain(open))
    }
  }

  async call(wanted: WantedCall, signal: AbortSignal): Promise<CallRecord> {
    const record = await this.#call(wanted, signal)
    const { receipt } = record
    if (receipt === undefined || !this.#issue.learn(record.to, receipt)) return record
    // By the callee's clock, which is the better one: nothing was done yet, so it is another call.
    return this.#call(wanted, signal)
  }

  async cancel(id: Uint8Array, signal: AbortSignal): Promise<CallRecord> {
    const open = this.made.get(id)
    if (open === undefined) return this.#require(id)
    if (open.state !== 'sent' && (await this.#deps.mailbox()?.cancel(id)) === true) {
      this.made.move(open, { state: 'cancelled' })
      return this.#require(id)
    }
    const { to, ttlMs } = open.call
    await this.#call({ to, verb: 'cancel', name: '', args: toHex(id), ttlMs }, signal)
    return this.#require(id)
  }

  async wait(id: Uint8Array, signal: AbortSignal): Promise<CallRecord> {
    const open = this.made.get(id)
    return open === undefined ? this.#require(id) : orAborted(open.ended, signal)
  }

  settled(bytes: Uint8Array): void {
    const { home, log, signer, verifier } = this.#deps
    try {
      const receipt = openReceipt(bytes, { home, verifier })
      if (!equalBytes(receipt.caller, signer.key)) return
      const open = this.made.get(receipt.call)
      if (open !== undefined) this.#settle(open, this.#checked(open.call, bytes))
      else {
        this.made.late(receipt.call, ({ id, to }) =>
          openReceipt(bytes, { home, verifier }, { call: id, caller: signer.key, callee: to }),
        )
      }
    } catch (err) {
      log.warn({ err }, 'receipt is not right')
    }
  }

  moved(id: Uint8Array, { deliversByMs, holders, state }: HeldView): void {
    const open = this.made.get(id)
    if (open === undefined) return
    const now = state === 'superseded' ? 'cancelled' : state
    this.made.move(open, { state: now, holders, deliversByMs })
  }

  async done(): Promise<void> {
    await Promise.all(this.#pursued)
    this.made.flush()
  }

  async #call(wanted: Wanted, signal: AbortSignal): Promise<CallRecord> {
    signal.throwIfAborted()
    if (this.#sleeps(wanted.to)) return this.#hold(wanted)
    const open = this.made.add(this.#seal(wanted, wanted.ttlMs ?? TTL_MS), 'sent')
    this.#follow(this.#pursue(open, signal))
    return orAborted(open.ended, signal)
  }

  #sleeps(to: Uint8Array): boolean {
    const { mailbox, mesh } = this.#deps
    if (mailbox()?.isSleeper(to) !== true) return false
    return !mesh.peers().some(({ key }) => equalBytes(key, to))
  }

  #seal(wanted: Wanted, ttlMs: number): Call {
    const { epoch, home, signer } = this.#deps
    const { args, cause, name, to, verb } = wanted
    return sealCall(
      {
        to,
        verb,
        name,
        nonce: this.#takeNonce(),
        ttlMs,
        epoch: epoch(),
        issuedMs: this.#issue.nowMs(to),
        ...(args === undefined ? {} : { args }),
        ...(cause === undefined ? {} : { cause }),
      },
      home,
      signer,
    )
  }

  #takeNonce(): Uint8Array {
    const nonce = this.#nonce ?? this.#deps.random.bytes(NONCE_BYTES)
    this.#nonce = undefined
    return nonce
  }

  async #hold(wanted: Wanted): Promise<CallRecord> {
    const { clock, mailbox } = this.#deps
    const dueMs = mailbox()?.deliversByMs(wanted.to) ?? 0
    const ttlMs = wanted.ttlMs ?? Math.max(0, dueMs - clock.now()) + SLEEPER_TTL_MS
    const open = this.made.add(this.#seal(wanted, Math.min(ttlMs, MAX_TTL_MS)), 'queued')
    try {
      this.made.keep(open)
      await this.#handOver(open, coalesceKeyOf(wanted, this.#parts))
    } catch (error) {
      this.made.drop(open, error)
      throw error
    }
    return this.#require(open.call.id)
  }

  async #handOver({ call }: Open, coalesceKey?: string): Promise<void> {
    const mailbox = this.#deps.mailbox()
    if (mailbox === undefined) return
    const { bytes, caller, id, issuedMs, to, ttlMs } = call
    const key = coalesceKey === undefined ? {} : { coalesceKey }
    this.moved(id, await mailbox.hold({ bytes, caller, id, issuedMs, to, ttlMs, ...key }))
  }

  /** Queued before this start: it may not have reached the mailbox. */
  async #holdAgain(open: Open): Promise<void> {
    const { clock, log, mailbox } = this.#deps
    try {
      while (mailbox() === undefined) await clock.sleep(RETRY_MS, this.#until)
      if (open.state === 'queued') await this.#handOver(open)
    } catch (err) {
      if (!this.#until.aborted) log.warn({ err }, 'call cannot be held')
    }
  }

  /** Until it has come to its end, or `until` aborts; then it goes on after the next start. */
  async #pursue(open: Open, signal?: AbortSignal): Promise<void> {
    for (;;) {
      try {
        await this.#attempt(open, signal)
        return
      } catch (error) {
        if (!open.sent) {
          this.made.drop(open, error)
          return
        }
        if (this.#until.aborted || !isUnderway(open)) return
        if (isAnswer(error)) {
          this.made.move(open, { state: 'unknown' })
          return
        }
      }
      if (this.#sleeps(open.call.to))
        return this.#holdAgain(Object.assign(open, { state: 'queued' }))
      if (!(await this.#again(open.call))) {
        if (!this.#until.aborted) this.made.move(open, { state: 'unknown' })
        return
      }
    }
  }

  async #attempt(open: Open, signal?: AbortSignal): Promise<void> {
    const { call } = open
    const { here, links } = this.#parts
    if (equalBytes(call.to, this.#deps.signer.key)) {
      open.sent = true
      this.#settle(open, this.#checked(call, await here(call.bytes)))
      return
    }
    const link = await links.get(call.to)
    if (!open.sent) signal?.throwIfAborted()
    const answer = link.call(call.bytes, this.#until)
    if (!open.sent) {
      open.sent = true
      this.made.move(open, { state: 'sent' })
    }
    await this.#accept(open, await answer)
  }

  /**
   * A receipt from the callee itself: the connection shows that it is from there, so whoever waits
   * has it at once. It is written, told on and counted as proof when its signature was found right.
   */
  async #accept(open: Open, bytes: Uint8Array): Promise<void> {
    const { home, verifier } = this.#deps
    const { caller, id, to } = open.call
    let check = (): Promise<boolean> => Promise.resolve(false)
    const later = (...signed: Parameters<Verifier['verify']>): boolean => {
      check = () => verifier.verifyLater(...signed)
      return true
    }
    const expected = { call: id, caller, callee: to }
    const receipt = openReceipt(bytes, { home, verifier: { verify: later } }, expected)
    this.made.answer(open, { state: stateBy(receipt), receipt })
    // To begin the check takes a while too, as does a nonce.
    await setImmediate()
    this.#nonce ??= this.#deps.random.bytes(NONCE_BYTES)
    if (await check()) return this.#settle(open, receipt)
    const error = new IdentityError('IDENTITY_BAD_SIGNATURE', 'receipt')
    this.#parts.distrust(to, error)
    throw error
  }

  /** Whether to try again: after a while, with a connection, and in its time. */
  async #again({ issuedMs, to, ttlMs }: Call): Promise<boolean> {
    const { clock, mesh } = this.#deps
    const leftMs = issuedMs + ttlMs + AHEAD_MS - clock.now()
    if (leftMs <= 0) return false
    const stop = new AbortController()
    const signal = AbortSignal.any([this.#until, stop.signal])
    const connected = new Promise<void>((resolve) => {
      mesh.events.on('connect', ({ key }) => void (equalBytes(key, to) && resolve()), signal)
    })
    try {
      await clock.sleep(Math.min(RETRY_MS, leftMs), signal)
      if (!mesh.peers().some(({ key }) => equalBytes(key, to))) {
        await Promise.race([connected, clock.sleep(leftMs, signal)])
      }
      return clock.now() < issuedMs + ttlMs + AHEAD_MS
    } catch {
      return false
    } finally {
      stop.abort(new Error('over'))
    }
  }

  #checked({ caller, id, to }: Call, bytes: Uint8Array): Receipt {
    const { home, verifier } = this.#deps
    return openReceipt(bytes, { home, verifier }, { call: id, caller, callee: to })
  }

  #settle(open: Open, receipt: Receipt): void {
    const { verb } = open.call
    this.made.move(open, { state: stateBy(receipt), receipt })
    if (verb !== 'cancel' || receipt.status !== 'done') return
    // The callee will not execute it, whether or not it comes.
    const cancelled = this.made.get(cancelledBy(open.call))
    if (cancelled?.state === 'sent') this.made.move(cancelled, { state: 'cancelled' })
  }

  #require(id: Uint8Array): CallRecord {
    return this.made.record(id) ?? this.made.find(toHex(id))
  }

  #follow(work: Promise<void>): void {
    const followed = work.finally(() => this.#pursued.delete(followed))
    this.#pursued.add(followed)
  }
}

/** The callee, or what it sent, says that asking again leads nowhere. */
function isAnswer(error: unknown): boolean {
  if (error instanceof WireError) return false
  return error instanceof CallsError || error instanceof IdentityError
}

function coalesceKeyOf(wanted: Wanted, { coalesceKey }: CallerParts): string | undefined {
  const { verb } = wanted
  return verb === 'cancel' ? undefined : coalesceKey({ ...wanted, verb })
}

/** What `work` gives, unless `signal` aborts first. */
function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const aborted = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', aborted, { once: true })
    work
      .finally(() => signal.removeEventListener('abort', aborted))
      .then(resolve, (error: unknown) => reject(error as Error))
  })
}
