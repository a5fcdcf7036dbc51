/**
 * The side that asks, on one stream that stays open. Questions are numbered and may be asked before
 * earlier ones are answered; above 32 open ones the next waits its turn. What comes back is matched
 * by number, bounded, and handed on unread: whether a receipt is right is `openReceipt`.
 */
import type { Channel } from '../wire/index.ts'
import { WireError } from '../wire/index.ts'
import type { Json } from './json.ts'
import { Request, Response, type RequestMessage, type ResponseMessage } from './messages.ts'
import { BOUNDS, callsCode, CallsError } from './protocol.ts'
import { senderOf } from './sender.ts'

/** A value of a property, or an event. */
export interface Observed {
  readonly value: Json
  /** UTC milliseconds by the callee's clock. */
  readonly atMs: number
}

/** A call that was executed, and its receipt: both whole envelopes, not checked yet. */
export interface CallRow {
  readonly call: Uint8Array
  readonly receipt: Uint8Array
}

export interface Caller {
  /**
   * The receipt for an envelope of a call, unchecked. When `signal` aborts, the callee may still do
   * it: only the answer is not waited for.
   *
   * @throws CallsError, with the code that the callee gave; WireError; the signal's reason
   */
  call(bytes: Uint8Array, signal: AbortSignal): Promise<Uint8Array>
  /** What the callee offers us, as JSON text of ≤ 64 KiB, unchecked. @throws as `call` */
  describe(signal: AbortSignal): Promise<string>
  /** Values as they come, until either side ends it. @throws as `call`; CallsError CALLS_TOO_SLOW */
  observe(name: string, signal: AbortSignal): AsyncGenerator<Observed, void, undefined>
  /** The newest executed calls, of everything or of one affordance, unchecked. @throws as `call` */
  why(name: string | undefined, limit: number, signal: AbortSignal): Promise<readonly CallRow[]>
  /** Resolves with the reason when the stream has ended; after that every question throws it. */
  readonly closed: Promise<Error>
}

export interface CallerDeps {
  /** Reset the stream: the callee broke a rule, or the stream is at its end. */
  abort(error: Error): void
}

type Question = Omit<RequestMessage, 'n'>
type Take = (part: ResponseMessage) => void

interface Open {
  readonly take: Take
  /** The answer is complete, or will never be. */
  readonly settle: (error?: Error) => void
}

/** Ask over `channel`, from which nothing else may read. */
export function openCaller(channel: Channel, deps: CallerDeps): Caller {
  const asker = new Asker(channel)
  const closed = asker.listen().catch((error: unknown) => {
    asker.end(error as Error)
    deps.abort(error as Error)
    return error as Error
  })

  return {
    closed,
    async call(bytes, signal) {
      let receipt: Uint8Array | undefined
      const take: Take = (part) => {
        if (part.receipt === undefined || !part.last) throw unasked('receipt')
        receipt = part.receipt
      }
      await asker.ask({ call: bytes }, take, signal)
      if (receipt === undefined) throw unasked('receipt')
      return receipt
    },
    async describe(signal) {
      const chunks: Uint8Array[] = []
      let size = 0
      const take: Take = ({ description }) => {
        if (description === undefined) throw unasked('description')
        size += description.length
        if (size > BOUNDS.maxDescriptionBytes) throw unasked('long description')
        chunks.push(description)
      }
      await asker.ask({ describe: true }, take, signal)
      return textOf(chunks)
    },
    observe: (name, signal) => observe(asker, name, signal),
    async why(name, limit, signal) {
      const rows: CallRow[] = []
      const take: Take = ({ row, last }) => {
        if (row === undefined && last) return
        if (row === undefined || rows.length >= limit) throw unasked('rows')
        rows.push(row)
      }
      const why = name === undefined ? { limit } : { name, limit }
      await asker.ask({ why }, take, signal)
      return rows
    },
  }
}

async function* observe(
  asker: Asker,
  name: string,
  signal: AbortSignal,
): AsyncGenerator<Observed, void, undefined> {
  const over = new AbortController()
  const waiting: Observed[] = []
  let wake = (): void => undefined
  let done = false
  let failure: Error | undefined
  const take: Take = ({ event, last }) => {
    if (event === undefined && !last) throw unasked('event')
    if (event === undefined) return
    if (waiting.length < BOUNDS.maxWaiting) waiting.push(event)
    else over.abort(new CallsError('CALLS_TOO_SLOW'))
    wake()
  }
  const finished = asker
    .ask({ observe: name }, take, AbortSignal.any([signal, over.signal]))
    .catch((error: unknown) => {
      failure = error as Error
    })
    .then(() => {
      done = true
      wake()
    })
  try {
    for (;;) {
      const event = waiting.shift()
      if (event !== undefined) yield event
      else if (failure !== undefined) throw failure
      else if (done) return
      else {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    }
  } finally {
    over.abort()
    await finished
  }
}

/** The questions of one stream. */
class Asker {
  readonly #channel: Channel
  readonly #deliver: (request: RequestMessage) => Promise<void>
  readonly #open = new Map<number, Open>()
  /** Questions that wait until another is answered, in turn. */
  readonly #queue = new Set<() => void>()
  #next = 1
  #failure: Error | undefined

  constructor(channel: Channel) {
    this.#channel = channel
    this.#deliver = senderOf(channel, Request)
  }

  /** Take answers until the stream ends. Never resolves. @throws CallsError; WireError */
  async listen(): Promise<never> {
    for await (const part of this.#channel.messages(Response)) {
      const open = this.#open.get(part.n)
      if (open === undefined) throw unasked('number')
      if (part.status === undefined) open.take(part)
      else if (!part.last) throw unasked('status')
      if (!part.last) continue
      this.#forget(part.n)
      const { status } = part
      open.settle(
        status === undefined ? undefined : new CallsError(callsCode(status) ?? 'CALLS_FAILED'),
      )
    }
    throw new WireError('WIRE_CLOSED')
  }

  /** The stream has ended. */
  end(error: Error): void {
    this.#failure = error
    for (const { settle } of this.#open.values()) settle(error)
    this.#open.clear()
    this.#proceed()
  }

  /** Resolves when the answer is complete; its parts go to `take`, which throws for a wrong one. */
  async ask(question: Question, take: Take, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    while (this.#failure === undefined && this.#open.size >= BOUNDS.maxOpen) {
      await this.#turn(signal)
    }
    if (this.#failure !== undefined) throw this.#failure
    await this.#send({ n: this.#next++, ...question }, take, signal)
  }

  #send(request: RequestMessage, take: Take, signal: AbortSignal): Promise<void> {
    const { n } = request
    return new Promise((resolve, reject) => {
      const stopped = (): void => {
        // Its place is taken until the callee has ended it.
        this.#open.set(n, { take: () => undefined, settle: () => undefined })
        reject(signal.reason as Error)
        this.#deliver({ n, stop: true }).catch(() => undefined)
      }
      const settle = (error?: Error): void => {
        signal.removeEventListener('abort', stopped)
        if (error === undefined) resolve()
        else reject(error)
      }
      this.#open.set(n, { take, settle })
      signal.addEventListener('abort', stopped, { once: true })
      this.#deliver(request).catch((error: unknown) => {
        this.#forget(n)
        settle(error as Error)
      })
    })
  }

  #turn(signal: AbortSignal): Promise<void> {
    if (this.#queue.size >= BOUNDS.maxWaiting) throw new CallsError('CALLS_BUSY')
    return new Promise((resolve, reject) => {
      const go = (): void => {
        this.#queue.delete(go)
        signal.removeEventListener('abort', aborted)
        resolve()
      }
      const aborted = (): void => {
        this.#queue.delete(go)
        reject(signal.reason as Error)
      }
      this.#queue.add(go)
      signal.addEventListener('abort', aborted, { once: true })
    })
  }

  #forget(n: number): void {
    this.#open.delete(n)
    this.#proceed()
  }

  /** Let those who wait look again; who finds no place goes back to the end of the queue. */
  #proceed(): void {
    const free = this.#failure === undefined ? BOUNDS.maxOpen - this.#open.size : Infinity
    for (const go of Array.from(this.#queue).slice(0, Math.max(0, free))) go()
  }
}

/** @throws CallsError CALLS_UNASKED */
function textOf(chunks: readonly Uint8Array[]): string {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  try {
    return (
      chunks.map((chunk) => decoder.decode(chunk, { stream: true })).join('') + decoder.decode()
    )
  } catch {
    throw unasked('text')
  }
}

function unasked(detail: string): CallsError {
  return new CallsError('CALLS_UNASKED', detail)
}
