/** Values of other programs: from the command line, or one JSON object a line from standard input. */
import process from 'node:process'

import type { PushedValue } from '../../api/view.ts'
import { NodeError } from '../../errors.ts'
import type { Cli } from '../context.ts'

/** As many as the device takes at once. */
const MAX_VALUES = 256
const MAX_LINE_BYTES = 1024
const FORM = '{"sensor": "balcony", "value": 21.5}'

export async function push(cli: Cli, words: readonly string[]): Promise<void> {
  const count = words.length > 0 ? await pushWords(cli, words) : await pushLines(cli)
  cli.result({ pushed: count }, () => (count === 1 ? 'One value taken.' : `${count} values taken.`))
}

async function pushWords(cli: Cli, words: readonly string[]): Promise<number> {
  const values: PushedValue[] = []
  for (let at = 0; at < words.length; at += 2) {
    const [sensor = '', value] = words.slice(at, at + 2)
    if (value === undefined) {
      throw new NodeError('NODE_USAGE', `"${sensor}" has no value.`, {
        hint: 'Write names and values by turns, like: kith sensors push balcony 21.5',
      })
    }
    values.push({ sensor, value })
  }
  for (let at = 0; at < values.length; at += MAX_VALUES) {
    await cli.client.push(values.slice(at, at + MAX_VALUES))
  }
  return values.length
}

/** Each line is handed in as it comes; lines that came together go together. */
async function pushLines(cli: Cli): Promise<number> {
  let count = 0
  let lineNumber = 0
  for await (const lines of linesOf(process.stdin, cli.signal)) {
    const values = lines.flatMap((line) => {
      lineNumber++
      return line.trim() === '' ? [] : [valueIn(line, lineNumber)]
    })
    for (let at = 0; at < values.length; at += MAX_VALUES) {
      await cli.client.push(values.slice(at, at + MAX_VALUES))
    }
    count += values.length
  }
  return count
}

async function* linesOf(
  input: AsyncIterable<unknown> & { destroy(error?: Error): unknown },
  signal: AbortSignal,
): AsyncGenerator<string[]> {
  const stop = (): void => void input.destroy(signal.reason as Error)
  signal.addEventListener('abort', stop, { once: true })
  const decoder = new TextDecoder()
  let rest = ''
  try {
    for await (const chunk of input) {
      const lines = (rest + decoder.decode(chunk as Uint8Array, { stream: true })).split('\n')
      rest = lines.pop() ?? ''
      if (rest.length > MAX_LINE_BYTES) throw badLine('A line is longer than 1 KiB.')
      if (lines.length > 0) yield lines
    }
    if (rest !== '') yield [rest]
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

function valueIn(line: string, lineNumber: number): PushedValue {
  let json: unknown
  try {
    json = JSON.parse(line)
  } catch {
    throw badLine(`Line ${lineNumber} is not JSON.`)
  }
  const { sensor, value } = (json ?? {}) as Partial<Record<string, unknown>>
  const isValue = ['number', 'boolean', 'string'].includes(typeof value)
  if (typeof sensor !== 'string' || !isValue) {
    throw badLine(`Line ${lineNumber} has no sensor or no value.`)
  }
  return { sensor, value: value as PushedValue['value'] }
}

function badLine(message: string): NodeError {
  return new NodeError('NODE_USAGE', message, { hint: `Write one object a line: ${FORM}` })
}
