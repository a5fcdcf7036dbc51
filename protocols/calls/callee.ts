/**
 * The side that is asked. Every question runs on its own, so a slow action holds up nothing; answers
 * go out as they are ready. Bounded: 32 open questions, answers that wait for a slow reader, and the
 * bytes of questions in a second, beyond which the stream is read more slowly. An action goes on
 * when its caller has gone: its receipt is kept by whoever executes.
 */
import type { Clock } from '../env.ts'
import { IdentityError } from '../identity/index.ts'
import { utf8, WireError, type Channel } from '../wire/index.ts'
import type { CallRow, Observed } from './caller.ts'
import { Request, Response, type RequestMessage, type ResponseMessage } from './messages.ts'
import { BOUNDS, CALLS_ERRORS, CallsError, type CallsErrorCode } from './protocol.ts'
import { senderOf } from './sender.ts'

export interface CalleeDeps {
  /** Who asks, 32 bytes: the device at the other end. */
  readonly peer: Uint8Array
  readonly clock: Clock
  /**
   * Judge and execute a call; the envelope of its receipt. Not called off when the stream ends.
   *
   * @throws IdentityError, WireError, CallsError CALLS_BAD_CALL for what is no call: no receipt
   */
  answer(call: Uint8Array, peer: Uint8Array): Promise<Uint8Array>
  /** What `peer` may use, as JSON text of ≤ 64 KiB. @throws CallsError */
  describe(peer: Uint8Array): string | Promise<string>
  /** Must end, by return or by throwing, when `signal` aborts. @throws CallsError */
  observe(peer: Uint8Array, name: string, signal: AbortSignal): AsyncIterable<Observed>
  /** Newest first, `limit` at most. @throws CallsError */
  why(
    peer: Uint8Array,
    name: string | undefined,
    limit: number,
  ): readonly CallRow[] | Promise<readonly CallRow[]>
  /** Told of errors that are ours, not the caller's. */
  onFailure?(error: unknown): void
}

/** What a caller may be told; everything else is CALLS_FAILED. */
const TOLD: ReadonlySet<string> = new Set<CallsErrorCode>([
  'CALLS_FORBIDDEN',
  'CALLS_UNKNOWN',
  'CALLS_BUSY',
  'CALLS_FAILED',
  'CALLS_BAD_CALL',
])

/**
 * Serve one caller until it closes its side.
 *
 * @throws CallsError CALLS_BAD_REQUEST, CALLS_TOO_MANY_OPEN; WireError; the signal's reason
 */
export async function serveCalls(
  channel: Channel,
  deps: CalleeDeps,
  signal: AbortSignal,
): Promise<void> {
  const desk = new Desk(channel, deps, signal)
  const pace = paceOf(deps.clock)
  const aborted = (): void => desk.stop()
  signal.addEventListener('abort', aborted, { once: true })
  try {
    signal.throwIfAborted()
    for await (const request of channel.messages(Request)) {
      desk.take(request)
      await pace(request.call?.length ?? 0, signal)
      await desk.room()
    }
    desk.stopObservations()
    await desk.empty()
  } finally {
    signal.removeEventListener('abort', aborted)
    desk.stop()
  }
}

/** Wait as long as the bytes taken so far are more than the pace allows. */
function paceOf(clock: Clock): (bytes: number, signal: AbortSignal) => Promise<void> {
  const perMs = BOUNDS.maxBytesPerSecond / 1000
  let left: number = BOUNDS.maxBurstBytes
  let atMs = clock.monotonic()
  return async (bytes, signal) => {
    const nowMs = clock.monotonic()
    const refilled = Math.min(BOUNDS.maxBurstBytes, left + (nowMs - atMs) * perMs)
    left = refilled - Math.max(bytes, BOUNDS.minRequestBytes)
    atMs = nowMs
    if (left < 0) await clock.sleep(-left / perMs, signal)
  }
}

type LastPart = Omit<ResponseMessage, 'n' | 'last'>

/** The questions of one caller. */
class Desk {
  readonly #send: (response: ResponseMessage) => Promise<void>
  readonly #deps: CalleeDeps
  readonly #signal: AbortSignal
  /** Questions whose answer has not ended, each with what stops it; a call goes on. */
  readonly #open = new Map<
    number,
    { readonly stopped?: AbortController; readonly endless: boolean }
  >()
  #newest = 0
  /** Questions in hand, with those whose last answer still waits for the reader. */
  #running = 0
  #wake = (): void => undefined

  constructor(channel: Channel, deps: CalleeDeps, signal: AbortSignal) {
    this.#send = senderOf(channel, Response)
    this.#deps = deps
    this.#signal = signal
  }

  /** @throws CallsError CALLS_BAD_REQUEST, CALLS_TOO_MANY_OPEN */
  take(request: RequestMessage): void {
    const { n, stop } = request
    const kinds = Object.keys(request).length - 1
    if (kinds !== 1 || stop === false || request.describe === false) throw badRequest('kind')
    if (stop === true) {
      // It may have ended while the caller was saying so.
      if (n > this.#newest) throw badRequest('stop')
      this.#open.get(n)?.stopped?.abort()
      return
    }
    if (n <= this.#newest) throw badRequest('number')
    if (this.#open.size >= BOUNDS.maxOpen) throw new CallsError('CALLS_TOO_MANY_OPEN')
    this.#newest = n
    this.#running++
    if (request.call !== undefined) {
      this.#open.set(n, { endless: false })
      void this.#run(n, this.#execute(request.call))
      return
    }
    const stopped = new AbortController()
    this.#open.set(n, { stopped, endless: request.observe !== undefined })
    void this.#run(n, this.#answer(request, stopped.signal), stopped.signal)
  }

  /** Resolves when answers that wait for the reader are few enough to read on. */
  async room(): Promise<void> {
    while (this.#running >= 2 * BOUNDS.maxOpen) await this.#change()
  }

  async empty(): Promise<void> {
    while (this.#running > 0) await this.#change()
  }

  /** What would never end by itself. */
  stopObservations(): void {
    for (const { stopped, endless } of this.#open.values()) if (endless) stopped?.abort()
  }

  /** No more answers, and nobody waits for any. */
  stop(): void {
    for (const { stopped } of this.#open.values()) stopped?.abort()
    this.#wake()
  }

  async #change(): Promise<void> {
    this.#signal.throwIfAborted()
    await new Promise<void>((resolve) => {
      this.#wake = resolve
    })
    this.#signal.throwIfAborted()
  }

  async #run(n: number, answer: Promise<LastPart>, signal?: AbortSignal): Promise<void> {
    let last: LastPart
    try {
      last = await answer
    } catch (error) {
      last = signal?.aborted === true ? {} : { status: this.#statusOf(error) }
    }
    // Before the caller can know: it may ask the next one at once.
    this.#open.delete(n)
    // Where it cannot be sent the stream is at its end, and whoever reads it hears so.
    await this.#send({ n, last: true, ...last }).catch(() => undefined)
    this.#running--
    this.#wake()
  }

  async #execute(call: Uint8Array): Promise<LastPart> {
    return { receipt: await this.#deps.answer(call, this.#deps.peer) }
  }

  /** Sends all but the last part, which it returns. */
  async #answer(request: RequestMessage, signal: AbortSignal): Promise<LastPart> {
    const { peer } = this.#deps
    const { n, observe, why } = request
    if (observe !== undefined) {
      for await (const { value, atMs } of this.#deps.observe(peer, observe, signal)) {
        await this.#send({ n, last: false, event: { value, atMs } })
      }
      return {}
    }
    if (why !== undefined) {
      const rows = await this.#deps.why(peer, why.name, why.limit)
      for (const row of rows.slice(0, why.limit)) {
        if (signal.aborted) break
        await this.#send({ n, last: false, row })
      }
      return {}
    }
    return this.#describe(n)
  }

  async #describe(n: number): Promise<{ description: Uint8Array }> {
    const text = utf8(await this.#deps.describe(this.#deps.peer))
    if (text.length < 1 || text.length > BOUNDS.maxDescriptionBytes) {
      throw new RangeError(`description of ${text.length} bytes`)
    }
    let at = 0
    for (; at + BOUNDS.maxChunkBytes < text.length; at += BOUNDS.maxChunkBytes) {
      const description = text.subarray(at, at + BOUNDS.maxChunkBytes)
      await this.#send({ n, last: false, description })
    }
    return { description: text.subarray(at) }
  }

  #statusOf(error: unknown): number {
    if (error instanceof CallsError && TOLD.has(error.code)) return error.status
    if (error instanceof IdentityError || error instanceof WireError) {
      return CALLS_ERRORS.CALLS_BAD_CALL.status
    }
    this.#deps.onFailure?.(error)
    return CALLS_ERRORS.CALLS_FAILED.status
  }
}

function badRequest(detail: string): CallsError {
  return new CallsError('CALLS_BAD_REQUEST', detail)
}
