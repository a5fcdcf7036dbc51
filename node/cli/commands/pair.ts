/** `kith pair`, on the new device: code and QR, then what becomes of them. */
import process from 'node:process'

import { renderUnicodeCompact } from 'uqr'

import type { EventView, PairingWindowView } from '../../api/view.ts'
import { NodeError } from '../../errors.ts'
import { printable } from '../../printable.ts'
import { createClient } from '../../api/client.ts'
import type { Cli } from '../context.ts'
import { dateText } from '../print.ts'

export async function pair(cli: Cli, { minutes }: { readonly minutes?: number }): Promise<void> {
  const opened = await cli.client.openPairing({ minutes })
  const { code, qr, expiresAt } = opened
  cli.row({ code, qr, expiresAt }, () => windowText(cli, opened))
  const stopCountdown = countdown(cli, expiresAt)
  try {
    const joined = await outcome(cli, opened.since)
    stopCountdown()
    const { home, role, by } = joined
    const self = cli.options.json ? undefined : await ownName(cli)
    cli.row({ paired: true, home, role, by }, () => joinedText(joined, self))
  } catch (error) {
    stopCountdown()
    // Nobody waits for it any more; leave no open window behind.
    if (cli.signal.aborted) await closeWindow(cli)
    throw error
  }
}

/** The name that the owner gave, with the fingerprint; undefined where the device does not tell. */
function ownName({ client }: Cli): Promise<string | undefined> {
  return client.status().then(
    ({ device }) => `${device.name} (${device.fingerprint})`,
    () => undefined,
  )
}

function joinedText({ role, homeName, byName }: Joined, self = 'this device'): string {
  return [
    `Paired: ${printable(self)} is ${role} of “${printable(homeName)}”, added by ${printable(byName)}.`,
    'Choose what it measures: kith sensors',
  ].join('\n')
}

function windowText({ options }: Cli, { code, qr, expiresAt }: PairingWindowView): string {
  return [
    '',
    `    ${options.color ? `\u001B[1m${code}\u001B[0m` : code}`,
    '',
    renderUnicodeCompact(qr),
    '',
    `Open until ${dateText(expiresAt)}. On an owner's device run: kith add`,
  ].join('\n')
}

/** A line with the time left, on a terminal. Returns the function that ends it. */
function countdown(cli: Cli, expiresAt: number): () => void {
  if (!cli.terminal || cli.options.json || cli.options.quiet) return () => undefined
  const stop = new AbortController()
  const tick = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      const left = Math.max(0, Math.ceil((expiresAt - cli.clock.now()) / 1000))
      const text = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, '0')}`
      process.stderr.write(`\r\u001B[K${text} left `)
      await cli.clock.sleep(1000, stop.signal)
    }
  }
  // It ends only by being stopped.
  tick().catch(() => undefined)
  return () => {
    if (stop.signal.aborted) return
    stop.abort()
    // Whatever is written next has the line to itself.
    process.stderr.write('\r\u001B[K')
  }
}

interface Joined {
  readonly home: string
  readonly role: string
  readonly by: string
  readonly homeName: string
  readonly byName: string
}

function joinedFrom(data: EventView['data']): Joined {
  const text = (name: string): string => (typeof data[name] === 'string' ? data[name] : '')
  const home = text('home')
  const by = text('by')
  return {
    home,
    by,
    role: text('role'),
    homeName: text('homeName') || home,
    byName: text('byName') || by,
  }
}

/** @throws NodeError NODE_TIMEOUT, NODE_PAIRING where the window closes with nobody added */
async function outcome(cli: Cli, since: number): Promise<Joined> {
  for await (const { type, data } of cli.client.events(since, cli.signal)) {
    if (type === 'pairing.tried') cli.note(triedText(cli, data))
    if (type === 'pairing.paired') {
      return joinedFrom(data)
    }
    if (type === 'pairing.closed') throw closed(String(data['reason']))
  }
  throw new NodeError('NODE_NOT_RUNNING', 'Kith stopped while it waited.', {
    hint: 'Start it with: kith up',
  })
}

function triedText({ terminal }: Cli, { text, triesLeft }: EventView['data']): string {
  const what = typeof text === 'string' ? printable(text) : 'A wrong code was tried.'
  const left = `${Number(triesLeft)} ${Number(triesLeft) === 1 ? 'try' : 'tries'} left.`
  return `${terminal ? '\r\u001B[K' : ''}${what} ${left}`
}

const CLOSED: Readonly<Record<string, string>> = {
  expired: 'The time is up, and nobody added this device.',
  spent: 'Too many wrong codes were tried, so pairing was closed.',
  stopped: 'Pairing was closed on this device.',
}

function closed(reason: string): NodeError {
  return new NodeError(
    reason === 'expired' ? 'NODE_TIMEOUT' : 'NODE_PAIRING',
    CLOSED[reason] ?? `Pairing was closed: ${reason}.`,
    { hint: 'Nothing was changed. For a new code: kith pair' },
  )
}

async function closeWindow(cli: Cli): Promise<void> {
  const stop = new AbortController()
  const cancel = cli.clock.timer(2000, () => stop.abort(new Error('too slow')))
  // The device closes it at its own time where this does not reach it.
  await createClient(cli.socketPath, stop.signal)
    .closePairing()
    .catch(() => undefined)
  cancel()
}
