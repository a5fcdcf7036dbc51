/** Calls that this device made, and why devices did what they did. */
import { printable } from '../../printable.ts'
import { NodeError } from '../../errors.ts'
import { callText, stateText, whyText } from '../call-text.ts'
import type { Cli } from '../context.ts'
import { momentText } from '../moments.ts'
import { table } from '../print.ts'

/** As many digits of a call's id as are shown. */
const SHOWN_ID = 8

export async function calls(cli: Cli): Promise<void> {
  const rows = await cli.client.calls()
  const now = cli.clock.now()
  cli.result(rows, () =>
    rows.length === 0
      ? 'This device has called nobody.'
      : table(
          ['CALL', 'WHEN', 'DEVICE', 'WHAT', 'STATE'],
          rows.map((call) => [
            call.id.slice(0, SHOWN_ID),
            momentText(call.issuedAt, now),
            call.device.name,
            callText(call),
            stateText(call, now),
          ]),
        ),
  )
}

export async function cancel(cli: Cli, id: string): Promise<void> {
  const call = await cli.client.cancelCall(id, cli.signal)
  cli.result(call, () => {
    const what = `${call.device.name}: ${callText(call)}`
    const now = cli.clock.now()
    return call.state === 'cancelled'
      ? printable(`Taken back: ${what}.`)
      : printable(`${what}: ${stateText(call, now)}. It is taken back as soon as it can be.`)
  })
}

export async function why(
  cli: Cli,
  ref: string,
  name: string | undefined,
  { limit }: { readonly limit?: string },
): Promise<void> {
  const rows = await cli.client.why(ref, { name, limit: limitFrom(limit) }, cli.signal)
  const now = cli.clock.now()
  cli.result(rows, () =>
    rows.length === 0
      ? 'Nobody had it do anything, as far as it remembers.'
      : rows.map((row) => whyText(row, now)).join('\n'),
  )
}

function limitFrom(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const limit = /^\d{1,4}$/.test(text) ? Number(text) : 0
  if (limit >= 1 && limit <= 1000) return limit
  throw new NodeError('NODE_USAGE', `--limit ${text} is no number from 1 to 1000.`)
}
