/**
 * A program that started this one with a channel to it (Node.js: `stdio` with `ipc`) wants it to end
 * with it, also where it was killed and could say no more. Who was started by a shell goes on.
 */
import process from 'node:process'

/** Aborts when that program is gone; never where there is no channel. */
export function parentGone(): AbortSignal {
  const gone = new AbortController()
  const end = (): void => gone.abort(new Error('the program that started this is gone'))
  if (process.channel !== undefined && process.channel !== null) {
    process.once('disconnect', end)
    // To listen is no reason to go on running.
    process.channel.unref()
  } else if (typeof process.disconnect === 'function') {
    // There was a channel, and it has broken already.
    end()
  }
  return gone.signal
}
