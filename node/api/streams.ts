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

/**
 * Bytes of a file as they come, some together. What goes wrong before the first of them is thrown;
 * after that `broke` is told, and is to end the connection, for a file must not end early unnoticed.
 */
export async function bytesOf(
  source: AsyncIterable<Uint8Array>,
  stop: AbortController,
  broke: (error: unknown) => void,
): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
  const pieces = source[Symbol.asyncIterator]()
  const next = async (): Promise<Uint8Array<ArrayBuffer>> => {
    const together: Uint8Array[] = []
    for (let size = 0; size < PIECE_BYTES;) {
      const { done, value } = await pieces.next()
      if (done === true) break
      together.push(value)
      size += value.length
    }
    return new Uint8Array(Buffer.concat(together))
  }
  let ready: Uint8Array<ArrayBuffer> | undefined = await next()
  return new ReadableStream({
    async pull(controller) {
      try {
        const piece = ready ?? (await next())
        ready = undefined
        if (piece.length > 0) controller.enqueue(piece)
        else controller.close()
      } catch (error) {
        broke(error)
        controller.close()
      }
    },
    async cancel() {
      stop.abort(new Error('the client went away'))
      await pieces.return?.()
    },
  })
}
