/** Files of channels, metadata and indexes, from one peer to another in parts. SPEC.md "Files". */
import { BOUNDS, UpdateError, type FrameOf } from '../../../protocols/update/index.ts'
import { concatBytes } from '../../../protocols/wire/index.ts'
import type { Clock } from '../../env.ts'
import { asError, NodeError } from '../../errors.ts'
import type { ExchangeDeps, FileName } from './exchange.ts'
import type { Link } from './peers.ts'

export interface Files {
  ask(link: Link, file: FileName, signal: AbortSignal): Promise<Uint8Array | undefined>
  /** @throws UpdateError UPDATE_UNASKED, UPDATE_BAD_META */
  took(link: Link, frame: FrameOf<'meta'>): void
  /** @throws UpdateError UPDATE_TOO_MUCH */
  asked(link: Link, frame: FrameOf<'meta-ask'>): void
  gone(link: Link): void
}

/** Nothing came of a file for this long. */
const SILENT_MS = 15_000

interface Pending {
  readonly parts: Uint8Array[]
  bytes: number
  readonly file: Promise<Uint8Array | undefined>
  readonly end: (how: { bytes: Uint8Array | undefined } | { error: Error }) => void
  readonly touch: () => void
}

export function createFiles(deps: Pick<ExchangeDeps, 'file' | 'log' | 'clock'>): Files {
  const pending = new Map<Link, Map<string, Pending>>()
  const serving = new Map<Link, number>()

  function of(link: Link): Map<string, Pending> {
    const known = pending.get(link) ?? new Map<string, Pending>()
    pending.set(link, known)
    return known
  }

  return {
    async ask(link, { channel, file }, signal) {
      signal.throwIfAborted()
      link.signal.throwIfAborted()
      const name = `${channel}/${file}`
      const open = of(link)
      while (open.size >= BOUNDS.maxAsked && !open.has(name)) {
        await Promise.race([...open.values()].map((one) => one.file.catch(() => undefined)))
        signal.throwIfAborted()
        link.signal.throwIfAborted()
      }
      let one = open.get(name)
      if (one === undefined) {
        one = createPending(
          deps.clock,
          (error) => link.break(error),
          () => open.delete(name),
        )
        open.set(name, one)
        link.say({ type: 'meta-ask', channel, file })
      }
      return abortable(one.file, signal)
    },

    took: (link, frame) => takePart(of(link).get(`${frame.channel}/${frame.file}`), frame),

    asked(link, frame) {
      const running = serving.get(link) ?? 0
      if (running >= BOUNDS.maxAsked) throw new UpdateError('UPDATE_TOO_MUCH', 'files')
      serving.set(link, running + 1)
      serveFile(deps.file, link, frame)
        .catch((error: unknown) => {
          if (!link.signal.aborted) link.break(asError(error))
        })
        .finally(() => serving.set(link, (serving.get(link) ?? 1) - 1))
        .catch(() => undefined)
    },

    gone(link) {
      for (const one of of(link).values()) one.end({ error: asError(link.signal.reason) })
      pending.delete(link)
      serving.delete(link)
    },
  }
}

function createPending(clock: Clock, late: (error: Error) => void, ended: () => void): Pending {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array | undefined>()
  promise.catch(() => undefined)
  let cancel = (): void => undefined
  const one: Pending = {
    parts: [],
    bytes: 0,
    file: promise,
    end(how) {
      cancel()
      ended()
      if ('error' in how) reject(how.error)
      else resolve(how.bytes)
    },
    touch() {
      cancel()
      cancel = clock.timer(SILENT_MS, () => {
        const error = new NodeError('NODE_TIMEOUT', 'a file of a channel')
        one.end({ error })
        late(error)
      })
    },
  }
  one.touch()
  return one
}

function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const aborted = (): void => reject(asError(signal.reason))
    signal.addEventListener('abort', aborted, { once: true })
    promise
      .then(resolve, reject)
      .finally(() => signal.removeEventListener('abort', aborted))
      .catch(() => undefined)
  })
}

async function serveFile(
  read: ExchangeDeps['file'],
  link: Link,
  { channel, file }: FrameOf<'meta-ask'>,
): Promise<void> {
  const bytes = await read(channel, file)
  if (bytes === undefined || bytes.length === 0 || bytes.length > BOUNDS.maxMetaBytes) {
    await link.answer({ type: 'meta', channel, file, part: 0, of: 0 })
    return
  }
  const parts = Math.ceil(bytes.length / BOUNDS.maxPartBytes)
  for (let part = 0; part < parts; part++) {
    const from = part * BOUNDS.maxPartBytes
    const piece = bytes.subarray(from, from + BOUNDS.maxPartBytes)
    await link.answer({ type: 'meta', channel, file, part, of: parts, bytes: piece })
  }
}

/** @throws UpdateError UPDATE_UNASKED, UPDATE_BAD_META */
function takePart(
  one: Pending | undefined,
  { file, part, of: parts, bytes }: FrameOf<'meta'>,
): void {
  if (one === undefined) throw new UpdateError('UPDATE_UNASKED', file)
  if (bytes === undefined) {
    if (one.parts.length > 0) throw new UpdateError('UPDATE_BAD_META', file)
    one.end({ bytes: undefined })
    return
  }
  one.bytes += bytes.length
  if (part !== one.parts.length || one.bytes > BOUNDS.maxMetaBytes) {
    throw new UpdateError('UPDATE_BAD_META', file)
  }
  one.parts.push(bytes)
  one.touch()
  if (one.parts.length === parts) one.end({ bytes: concatBytes(...one.parts) })
}
