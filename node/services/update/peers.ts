/**
 * The kept streams to peers. Each side opens one; on the stream that it opened a device says what it
 * has and asks for, and gets what it asked for, so that a request never waits behind a chunk that
 * goes the same way. A peer is there while both are. SPEC.md "Streams".
 */
import type { Logger } from 'pino'

import { IdentityError, peerIdOf } from '../../../protocols/identity/index.ts'
import {
  Frame,
  UPDATE,
  UPDATE_ERRORS,
  UpdateError,
  type FrameOf,
  type UpdateErrorCode,
  type UpdateFrame,
} from '../../../protocols/update/index.ts'
import { toHex, WireError, type Channel } from '../../../protocols/wire/index.ts'
import type { Clock } from '../../env.ts'
import { asError } from '../../errors.ts'
import type { UpdateMesh } from './exchange.ts'

export type Answer = FrameOf<'meta' | 'chunk' | 'lost' | 'refused'>
export type Saying = Exclude<UpdateFrame, Answer>

/** A peer that is there. */
export interface Link {
  readonly key: Uint8Array
  /** Its key in hexadecimal. */
  readonly name: string
  /** Aborts when it is there no more. */
  readonly signal: AbortSignal
  /** Send on our own stream, in order, as the peer takes it. */
  say(frame: Saying): void
  /** Send on the peer's stream. Resolves when it takes more. @throws WireError; `signal`'s reason */
  answer(frame: Answer): Promise<void>
  /** Break both streams off; they are opened again after a while. */
  break(error: Error): void
}

export interface PeersDeps {
  readonly mesh: UpdateMesh
  readonly clock: Clock
  readonly log: Logger
  readonly allows: (peer: Uint8Array) => boolean
  readonly onUp: (link: Link) => void
  readonly onDown: (link: Link) => void
  /** Something that the peer says or asks. Throwing breaks the streams. */
  readonly onSaid: (link: Link, frame: Saying) => void
  /** Something that we asked for. The next is read when this resolves. */
  readonly onAnswer: (link: Link, frame: Answer) => Promise<void> | void
  readonly onFault: (peer: Uint8Array, code: string) => void
}

export interface Peers {
  links(): readonly Link[]
  /** Who may take part may have changed: those that are not there are tried now. */
  again(): void
  /** Resolves when every stream has ended, after the signal. */
  done(): Promise<void>
}

const FIRST_WAIT_MS = 1_000
const LONGEST_WAIT_MS = 60_000
/** Frames that wait for a peer to take them. */
const MAX_UNSAID = 4_096
const ANSWERS: ReadonlySet<string> = new Set(['meta', 'chunk', 'lost', 'refused'])

interface Session {
  readonly key: Uint8Array
  readonly stop: AbortController
  /** Our stream's channel, theirs, and how each is ended. */
  out: Half | undefined
  in: Half | undefined
  link: (Link & { readonly end: (error: Error) => void }) | undefined
  /** Whether it was there since our stream was last opened. */
  wasUp: boolean
  /** How long to wait before our stream is opened again, and how that is cut short. */
  waitMs: number
  waiting: AbortController
}

interface Half {
  readonly channel: Channel
  readonly end: (error: Error) => void
}

export async function startPeers(deps: PeersDeps, signal: AbortSignal): Promise<Peers> {
  const peers = new KeptStreams(deps, signal)
  await deps.mesh.serve(UPDATE, (channel, peer, gone) => peers.serve(channel, peer, gone))
  peers.start()
  return peers
}

class KeptStreams implements Peers {
  readonly #deps: PeersDeps
  readonly #signal: AbortSignal
  readonly #sessions = new Map<string, Session>()
  readonly #running = new Set<Promise<void>>()
  /** Who has a frame in hand that came before our own stream was open. */
  readonly #waiting = new WeakMap<Session, (link: Link) => void>()

  constructor(deps: PeersDeps, signal: AbortSignal) {
    this.#deps = deps
    this.#signal = signal
  }

  start(): void {
    const { mesh } = this.#deps
    const { events } = mesh
    events.on('connect', ({ key }) => void this.#session(key), this.#signal)
    events.on('disconnect', ({ key }) => this.#disconnected(key), this.#signal)
    for (const { key } of mesh.peers()) this.#session(key)
  }

  links(): readonly Link[] {
    return [...this.#sessions.values()].flatMap(({ link }) => link ?? [])
  }

  again(): void {
    for (const session of this.#sessions.values()) {
      if (session.link !== undefined) continue
      session.waitMs = FIRST_WAIT_MS
      session.waiting.abort()
    }
  }

  async done(): Promise<void> {
    await Promise.all(this.#running)
  }

  /** The peer's stream, from its opening to its end. */
  async serve(channel: Channel, peer: Uint8Array, gone: AbortSignal): Promise<void> {
    if (!this.#deps.allows(peer)) {
      await channel.send(Frame, { type: 'refused', status: UPDATE_ERRORS.UPDATE_FORBIDDEN.status })
      return
    }
    const session = this.#session(peer)
    const stop = Promise.withResolvers<never>()
    const half: Half = { channel, end: (error) => stop.reject(error) }
    const stopped = (): void => half.end(asError(gone.reason))
    gone.addEventListener('abort', stopped, { once: true })
    session.in?.end(new Error('another stream'))
    session.in = half
    // It is ready for ours now. What was broken off for a fault waits its time.
    if (!session.wasUp) session.waiting.abort()
    this.#maybeUp(session)
    try {
      await Promise.race([stop.promise, this.#listen(session, channel)])
    } catch (error) {
      this.#fault(session, error)
      throw error
    } finally {
      gone.removeEventListener('abort', stopped)
      stop.promise.catch(() => undefined)
      if (session.in === half) {
        session.in = undefined
        this.#broke(session, new Error('the peer ended its stream'))
      }
    }
  }

  async #listen(session: Session, channel: Channel): Promise<void> {
    for await (const frame of channel.messages(Frame)) {
      if (isAnswer(frame)) throw new UpdateError('UPDATE_UNASKED', frame.type)
      // What comes before our own stream is open waits for that.
      const link = session.link ?? (await this.#up(session))
      this.#deps.onSaid(link, frame)
    }
  }

  #session(key: Uint8Array): Session {
    const name = toHex(key)
    const known = this.#sessions.get(name)
    if (known !== undefined) return known
    const session: Session = {
      key,
      stop: new AbortController(),
      out: undefined,
      in: undefined,
      link: undefined,
      wasUp: false,
      waitMs: FIRST_WAIT_MS,
      waiting: new AbortController(),
    }
    this.#sessions.set(name, session)
    const running = this.#run(session).finally(() => this.#running.delete(running))
    this.#running.add(running)
    return session
  }

  #disconnected(key: Uint8Array): void {
    const name = toHex(key)
    const session = this.#sessions.get(name)
    this.#sessions.delete(name)
    session?.stop.abort(new Error('disconnected'))
  }

  /** Our stream, opened again and again while the peer is connected. */
  async #run(session: Session): Promise<void> {
    const { clock, log } = this.#deps
    const until = AbortSignal.any([this.#signal, session.stop.signal])
    while (!until.aborted) {
      const startedMs = clock.monotonic()
      session.wasUp = false
      session.waiting = new AbortController()
      try {
        if (this.#deps.allows(session.key)) await this.#keep(session, until)
      } catch (error) {
        if (until.aborted) break
        log.debug({ peer: peerIdOf(session.key), err: error }, 'update stream broke off')
        this.#fault(session, error)
      }
      if (clock.monotonic() - startedMs > LONGEST_WAIT_MS) session.waitMs = FIRST_WAIT_MS
      const wait = AbortSignal.any([until, session.waiting.signal])
      await clock.sleep(session.waitMs, wait).catch(() => undefined)
      session.waitMs = Math.min(2 * session.waitMs, LONGEST_WAIT_MS)
    }
    this.#broke(session, asError(until.reason))
    session.in?.end(asError(until.reason))
  }

  async #keep(session: Session, until: AbortSignal): Promise<void> {
    const stream = await this.#deps.mesh.open(session.key, UPDATE, until)
    const half: Half = { channel: stream.channel, end: (error) => stream.abort(error) }
    const stopped = (): void => half.end(asError(until.reason))
    until.addEventListener('abort', stopped, { once: true })
    try {
      until.throwIfAborted()
      session.out = half
      this.#maybeUp(session)
      for await (const frame of stream.channel.messages(Frame)) {
        if (!isAnswer(frame)) throw new UpdateError('UPDATE_UNASKED', frame.type)
        if (session.link !== undefined) await this.#deps.onAnswer(session.link, frame)
      }
    } finally {
      until.removeEventListener('abort', stopped)
      session.out = undefined
      this.#broke(session, new Error('our stream ended'))
      await stream[Symbol.asyncDispose]()
    }
  }

  #maybeUp(session: Session): void {
    const { in: theirs, out: ours } = session
    if (session.link !== undefined || theirs === undefined || ours === undefined) return
    const link = createLink(session.key, ours, theirs)
    session.link = link
    session.wasUp = true
    // When it breaks, it waits its time again.
    session.waiting = new AbortController()
    this.#deps.onUp(link)
    this.#waiting.get(session)?.(link)
    this.#waiting.delete(session)
  }

  #up(session: Session): Promise<Link> {
    return new Promise((resolve) => this.#waiting.set(session, resolve))
  }

  /** One half is gone: so is the peer, and the other half. */
  #broke(session: Session, error: Error): void {
    const { link } = session
    session.link = undefined
    session.out?.end(error)
    session.in?.end(error)
    if (link === undefined) return
    link.end(error)
    this.#deps.onDown(link)
  }

  #fault({ key }: Session, error: unknown): void {
    const wire = error instanceof WireError && error.code !== 'WIRE_CLOSED'
    if (error instanceof UpdateError || error instanceof IdentityError || wire) {
      this.#deps.onFault(key, error.code)
    }
  }
}

function isAnswer(frame: UpdateFrame): frame is Answer {
  return ANSWERS.has(frame.type)
}

function createLink(
  key: Uint8Array,
  ours: Half,
  theirs: Half,
): Link & { readonly end: (error: Error) => void } {
  const gone = new AbortController()
  const unsaid: Saying[] = []
  let saying = false

  function breakOff(error: Error): void {
    ours.end(error)
    theirs.end(error)
  }

  async function sayAll(): Promise<void> {
    saying = true
    try {
      for (let next = unsaid.shift(); next !== undefined; next = unsaid.shift()) {
        await ours.channel.send(Frame, next)
      }
    } catch (error) {
      breakOff(asError(error))
    } finally {
      saying = false
    }
  }

  return {
    key,
    name: toHex(key),
    signal: gone.signal,
    say(frame) {
      if (gone.signal.aborted) return
      if (unsaid.length >= MAX_UNSAID) {
        breakOff(new WireError('WIRE_TOO_SLOW', 'the peer takes nothing'))
        return
      }
      unsaid.push(frame)
      if (!saying) void sayAll()
    },
    async answer(frame) {
      gone.signal.throwIfAborted()
      await theirs.channel.send(Frame, frame)
    },
    break: breakOff,
    end: (error) => gone.abort(error),
  }
}

/** A refusal, as it crosses the wire. */
export function refusal(code: UpdateErrorCode, index?: Uint8Array): FrameOf<'refused'> {
  const { status } = UPDATE_ERRORS[code]
  return index === undefined ? { type: 'refused', status } : { type: 'refused', status, index }
}
