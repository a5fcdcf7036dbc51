/** Says to one other gateway what this one says of each lease, and what it is through with. */
import type { Clock } from '../env.ts'
import { toHex, type Channel } from '../wire/index.ts'
import { Word, type Done, type Stand } from './messages.ts'
import { BOUNDS } from './protocol.ts'

export interface SpeakerDeps {
  readonly clock: Pick<Clock, 'timer'>
  readonly stands: () => readonly Stand[]
  /** Of a lease that is held here: the last number of each device that is through. */
  readonly done: (name: string) => readonly Done['rows'][number][]
  /** Call `listener` when there is something to say at once. Returns the function that stops it. */
  readonly onChange: (listener: () => void) => () => void
}

/** Until `signal` aborts; then once more, so that what has ended here is known. @throws WireError */
export async function speakLeases(
  channel: Channel,
  { clock, stands, done, onChange }: SpeakerDeps,
  signal: AbortSignal,
): Promise<void> {
  const told = new Map<string, number>()
  let isDue = true
  let wake = (): void => undefined
  const ring = (): void => {
    isDue = true
    wake()
  }
  const stop = onChange(ring)
  signal.addEventListener('abort', ring, { once: true })
  try {
    for (;;) {
      isDue = false
      const isLast = signal.aborted
      const now = stands()
      await channel.send(Word, { stands: [...now] })
      if (isLast) return
      for (const { name, stand } of now) {
        if (stand !== 'holds') forget(told, name)
        else for (const one of news(told, name, done(name))) await channel.send(Word, { done: one })
      }
      const cancel = clock.timer(BOUNDS.beatMs, ring)
      if (!isDue && !signal.aborted) await new Promise<void>((resolve) => (wake = resolve))
      cancel()
    }
  } finally {
    stop()
    signal.removeEventListener('abort', ring)
  }
}

/** Rows that are other than what was told, in frames. */
function* news(told: Map<string, number>, name: string, rows: Done['rows']): Generator<Done> {
  const fresh = rows.filter(({ device, seq }) => told.get(`${name}\0${toHex(device)}`) !== seq)
  for (let at = 0; at < fresh.length; at += BOUNDS.maxRows) {
    const some = fresh.slice(at, at + BOUNDS.maxRows)
    for (const { device, seq } of some) told.set(`${name}\0${toHex(device)}`, seq)
    yield { name, rows: some }
  }
}

function forget(told: Map<string, number>, name: string): void {
  for (const key of told.keys()) if (key.startsWith(`${name}\0`)) told.delete(key)
}
