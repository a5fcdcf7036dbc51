/**
 * Flow control of yamux streams, with fewer words. @libp2p/yamux tells the sender of new room after
 * every single frame; each time costs an encryption and a write, and comes before the frame itself is
 * looked at: a quarter of a millisecond of each small message. The protocol asks only that the sender
 * hears of room before it has none.
 */
import type { Stream } from '@libp2p/interface'

/** The sender hears of room when this part of the window is used: of 256 KiB, 128. */
export const TELL_AFTER_PART = 1 / 2
/** `StreamState.Established` of @libp2p/yamux: before it, an update also answers the opening. */
const ESTABLISHED = 3
/** `StreamState.Paused`: nothing is told until the stream goes on. */
const PAUSED = 5

/** The part of a yamux stream that this is about. */
interface Flow {
  readonly state: number
  /** How much the sender may send before it is told of room, in bytes. */
  readonly recvWindow: number
  handleData(frame: { readonly header: { readonly length: number } }): void
  sendWindowUpdate(): void
}

/** Streams of other kinds stay as they are. */
export function spareUpdates(stream: Stream): void {
  if (!isFlow(stream)) return
  const handleData = stream.handleData.bind(stream)
  const sendWindowUpdate = stream.sendWindowUpdate.bind(stream)
  let unsaidBytes = 0
  stream.handleData = (frame) => {
    unsaidBytes += frame.header.length
    handleData(frame)
  }
  stream.sendWindowUpdate = () => {
    if (stream.state === ESTABLISHED && unsaidBytes < TELL_AFTER_PART * stream.recvWindow) return
    // What came while it was paused is still to be told: else the sender waits for ever.
    if (stream.state !== PAUSED) unsaidBytes = 0
    sendWindowUpdate()
  }
}

function isFlow(stream: object): stream is Flow {
  return (
    'sendWindowUpdate' in stream &&
    typeof stream.sendWindowUpdate === 'function' &&
    'handleData' in stream &&
    typeof stream.handleData === 'function' &&
    'recvWindow' in stream &&
    'state' in stream &&
    typeof stream.state === 'number'
  )
}
