/**
 * Many items in as few bodies as the far side takes. A body that is refused is sent again in smaller
 * pieces until the items that are the reason stand alone; then pieces grow again. What comes back is
 * in order per device: after an item that must wait, the rest of its device waits.
 */
import { SinkDown, type OutItem, type Outcome } from './sink.ts'

/** What the far side said of one piece. `later`: it failed, for no reason that the items are known for. */
export type PieceAnswer =
  | { readonly is: 'taken' }
  | { readonly is: 'refused'; readonly why: string }
  | { readonly is: 'later'; readonly why: string }
  /** One outcome for each item of the piece. */
  | { readonly is: 'parts'; readonly outcomes: readonly Outcome[] }

export interface PieceLimits {
  readonly most: number
}

/** Of one call of `send`; what is left then is sent with the next. */
const MAX_TRIES = 128
/** So many single items in a row that fail for no reason of theirs, before anything went well. */
const MAX_FAILURES = 3

const LATER = 'retry' satisfies Outcome

interface Progress {
  readonly outcomes: Outcome[]
  readonly waiting: Set<string>
  readonly most: number
  at: number
  size: number
  tries: number
  failures: number
}

export async function sendInPieces(
  items: readonly OutItem[],
  attempt: (piece: readonly OutItem[]) => Promise<PieceAnswer>,
  { most }: PieceLimits,
): Promise<readonly Outcome[]> {
  const progress: Progress = {
    outcomes: items.map(() => LATER),
    waiting: new Set(),
    most,
    at: 0,
    size: most,
    tries: 0,
    failures: 0,
  }
  while (progress.at < items.length && progress.tries < MAX_TRIES) {
    const piece = nextPiece(items, progress)
    if (piece.items.length === 0) break
    try {
      progress.tries++
      settle(progress, piece, await attempt(piece.items))
    } catch (error) {
      // What was taken before would be lost sight of, and sent twice.
      if (!(error instanceof SinkDown) || nothingSettled(progress)) throw error
      break
    }
  }
  return progress.outcomes
}

interface Piece {
  readonly items: readonly OutItem[]
  /** Where each of them stands in the whole. */
  readonly places: readonly number[]
  /** Where the next piece begins. */
  readonly end: number
}

/** The next `size` items whose device does not wait. */
function nextPiece(items: readonly OutItem[], { at, size, waiting }: Progress): Piece {
  const places: number[] = []
  let end = at
  while (end < items.length && places.length < size) {
    const item = items[end]
    if (item !== undefined && !waiting.has(item.deviceId)) places.push(end)
    end++
  }
  return { items: places.flatMap((place) => items[place] ?? []), places, end }
}

function settle(progress: Progress, piece: Piece, answer: PieceAnswer): void {
  const { items, places, end } = piece
  if (answer.is === 'taken' || answer.is === 'parts') {
    places.forEach((place, index) => {
      progress.outcomes[place] = answer.is === 'taken' ? 'sent' : (answer.outcomes[index] ?? LATER)
    })
    for (const [index, { deviceId }] of items.entries()) {
      if (answer.is === 'parts' && answer.outcomes[index] === LATER) progress.waiting.add(deviceId)
    }
    progress.at = end
    progress.failures = 0
    progress.size = Math.min(progress.most, progress.size * 2)
    return
  }
  if (items.length > 1) {
    progress.size = Math.ceil(items.length / 2)
    return
  }
  const [place = 0] = places
  progress.at = end
  if (answer.is === 'refused') {
    progress.outcomes[place] = { poison: answer.why }
    return
  }
  for (const { deviceId } of items) progress.waiting.add(deviceId)
  if (++progress.failures >= MAX_FAILURES) throw new SinkDown(answer.why)
}

function nothingSettled({ outcomes }: Progress): boolean {
  return outcomes.every((outcome) => outcome === LATER)
}

/** Statuses that are about the body, where 2xx were looked at before. */
export function ofStatus(status: number, why: string): PieceAnswer {
  return status >= 500 ? { is: 'later', why } : { is: 'refused', why }
}

/** A bit of what a stranger said, on one line. */
export function said(text: string): string {
  const line = text.replaceAll(/\p{C}+/gu, ' ').trim()
  return line.length > 200 ? `${line.slice(0, 200)}…` : line
}

/** Tell the meter each item's share of a body: `sizes` before, `total` as sent. */
export function tellShares(
  told: (item: OutItem, bytes: number) => void,
  parts: readonly { readonly item: OutItem; readonly bytes: number }[],
  total: number,
): void {
  const whole = parts.reduce((sum, { bytes }) => sum + bytes, 0)
  if (whole === 0) return
  for (const { item, bytes } of parts) told(item, Math.floor((bytes / whole) * total))
}
