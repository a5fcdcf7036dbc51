/** Rows that never end as an HTTP body: JSON lines, or server-sent events. */
import type { Problem } from './problem.ts'

const PIECE_BYTES = 64 * 1024

/** One JSON text a line. Where the rows break off, the last line is `{"error": problem}`. */
export async function* jsonLines(
  rows: AsyncIterable<unknown>,
  onError: (error: unknown) => Problem,
): AsyncGenerator<string> {
  try {
    // Headers go out with the first bytes: a client shall know at once that it is heard.
    yield '\n'
    for await (const row of rows) yield `${JSON.stringify(row)}\n`
  } catch (error) {
    yield `${JSON.stringify({ error: onError(error) })}\n`
  }
}

/** Server-sent events whose `id` is the row's own. Where they break off, an event `problem`. */
export async function* eventLines(
  rows: AsyncIterable<unknown>,
  onError: (error: unknown) => Problem,
): AsyncGenerator<string> {
  try {
    yield ': ok\n\n'
    for await (const row of rows) {
      yield `id: ${(row as { id: number }).id}\ndata: ${JSON.stringify(row)}\n\n`
    }
  } catch (error) {
    yield `event: problem\ndata: ${JSON.stringify(onError(error))}\n\n`
  }
}

/** Reads one line at a time as the client takes them; aborts `stop` when the client goes. */
export function streamOf(
  lines: AsyncGenerator<string>,
  stop: AbortController,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const encoder = new TextEncoder()
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await lines.next()
      if (done === true) controller.close()
      else controller.enqueue(encoder.encode(value))
    },
    async cancel() {
      // First the source, which may be waiting, then the generator behind it.
      stop.abort(new Error('the client went away'))
      await lines.return(undefined)
    },
  })
}

/** Bytes of a file as they come, some together; breaks off where the source fails. */
export function bytesOf(
  source: AsyncIterable<Uint8Array>,
  stop: AbortController,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const pieces = source[Symbol.asyncIterator]()
  return new ReadableStream({
    async pull(controller) {
      const together: Uint8Array[] = []
      let size = 0
      while (size < PIECE_BYTES) {
        const { done, value } = await pieces.next()
        if (done === true) {
          if (size > 0) controller.enqueue(new Uint8Array(Buffer.concat(together)))
          return controller.close()
        }
        together.push(value)
        size += value.length
      }
      controller.enqueue(new Uint8Array(Buffer.concat(together)))
    },
    async cancel() {
      stop.abort(new Error('the client went away'))
      await pieces.return?.()
    },
  })
}
