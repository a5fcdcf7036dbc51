/** The side that had the incidents: sends its own reports to an owner, and new ones as they come. */
import { pipe } from 'it-pipe'

import type { Channel } from '../wire/index.ts'
import { Fetch, ReportFrame } from './messages.ts'
import { INCIDENTS_ERRORS } from './protocol.ts'

export interface ReportSource {
  /** Highest number; 0 for none. */
  head(): number
  /** The first kept report with this number or a higher one. */
  next(fromSeq: number): { readonly seq: number; readonly bytes: Uint8Array } | undefined
  /** Call `listener` when there is a new one. Returns the function that stops it. */
  onNew(listener: () => void): () => void
}

export interface HolderDeps {
  readonly source: ReportSource
  /** The reader is an owner; asked again before every frame. */
  readonly mayRead: () => boolean
}

type Frame = Parameters<typeof ReportFrame.encode>[0]

/** Serve one reader until `signal` aborts. @throws WireError; the signal's reason */
export async function serveReports(
  channel: Channel,
  deps: HolderDeps,
  signal: AbortSignal,
): Promise<void> {
  const { from } = await channel.receive(Fetch)
  await pipe(frames(deps, from, signal), channel.sink(ReportFrame))
}

async function* frames(
  { source, mayRead }: HolderDeps,
  from: number,
  signal: AbortSignal,
): AsyncGenerator<Frame, void, undefined> {
  let wake = (): void => undefined
  const stop = source.onNew(() => wake())
  const aborted = (): void => wake()
  signal.addEventListener('abort', aborted, { once: true })
  try {
    let next = from
    for (;;) {
      signal.throwIfAborted()
      if (!mayRead()) {
        yield { head: 0, status: INCIDENTS_ERRORS.INCIDENTS_FORBIDDEN.status }
        return
      }
      const found = source.next(next)
      if (found !== undefined) {
        next = found.seq + 1
        yield { head: source.head(), report: found.bytes }
        continue
      }
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
  } finally {
    stop()
    signal.removeEventListener('abort', aborted)
  }
}
