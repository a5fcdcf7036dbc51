/** Using a device: `kith get`, `set`, `call` and `observe`. */
import process from 'node:process'

import {
  isUnderway,
  type CallOptions,
  type CallView,
  type Json,
  type JsonObject,
} from '../../api/view.ts'
import { parseDuration } from '../../config-values.ts'
import { EXIT, NodeError } from '../../errors.ts'
import { printable } from '../../printable.ts'
import { isTimeout, type Cli } from '../context.ts'
import { callText, waitText } from '../call-text.ts'
import { momentText } from '../moments.ts'
import { objectOf, plainText, readValue } from '../schemas.ts'

export interface UseOptions {
  readonly ttl?: string
  readonly wait?: boolean
}

const MAX_TTL_MS = 30 * 86_400_000
/** As long as the API lets anybody wait; --timeout and Ctrl-C end it sooner. */
const WAIT_MS = 24 * 60 * 60_000

export async function get(cli: Cli, ref: string, name: string, given: UseOptions): Promise<void> {
  const made = await cli.client.readProperty(ref, name, optionsFrom(given), cli.signal)
  show(cli, made, () => {
    const { result } = made.receipt ?? {}
    return result === undefined ? '' : printable(plainText(result))
  })
}

export async function set(
  cli: Cli,
  target: readonly [string, string],
  typed: string,
  given: UseOptions,
): Promise<void> {
  const [ref, name] = target
  const options = optionsFrom(given)
  const schema = await schemaOf(cli, ref, ['properties', name])
  const value = readValue(typed, schema)
  const made = await cli.client.writeProperty({ ref, name }, value, options, cli.signal)
  show(cli, made, () => doneText(made))
}

export async function call(
  cli: Cli,
  target: readonly [string, string],
  typed: string | undefined,
  given: UseOptions,
): Promise<void> {
  const [ref, name] = target
  const options = optionsFrom(given)
  const args = typed === undefined ? undefined : await argsFrom(cli, ref, { name, typed })
  const made = await cli.client.invokeAction({ ref, name }, args, options, cli.signal)
  show(cli, made, () => doneText(made))
}

async function argsFrom(
  cli: Cli,
  ref: string,
  { name, typed }: { readonly name: string; readonly typed: string },
): Promise<Json> {
  const action = await schemaOf(cli, ref, ['actions', name])
  return readValue(typed, action === undefined ? undefined : objectOf(action['input']))
}

/** What the device says of one property or action; undefined where nothing is known of it. */
async function schemaOf(
  { client, signal }: Cli,
  ref: string,
  [kind, name]: readonly [string, string],
): Promise<JsonObject | undefined> {
  try {
    const { description } = await client.description(ref, {}, signal)
    const all = objectOf(description[kind])
    return Object.hasOwn(all, name) ? objectOf(all[name]) : undefined
  } catch {
    // The call itself tells what is wrong, if anything is.
    signal.throwIfAborted()
    return undefined
  }
}

/** Exit code 7 where it waits for a device that sleeps. */
function show(cli: Cli, made: CallView, done: () => string): void {
  const underway = isUnderway(made)
  cli.result(made, () => (underway ? waitText(made, cli.clock.now()) : done()))
  if (underway) process.exitCode = EXIT.queued
}

function doneText(made: CallView): string {
  const { result } = made.receipt ?? {}
  const more = result === undefined ? '' : `: ${plainText(result)}`
  return printable(
    `${made.device.name}: ${callText(made)} ${made.receipt?.status ?? made.state}${more}`,
  )
}

/** @throws NodeError NODE_USAGE */
function optionsFrom({ ttl, wait = false }: UseOptions): CallOptions {
  const waiting = wait ? { waitMs: WAIT_MS } : {}
  if (ttl === undefined) return waiting
  const ttlMs = parseDuration(ttl)
  if (ttlMs !== undefined && ttlMs >= 1000 && ttlMs <= MAX_TTL_MS) return { ...waiting, ttlMs }
  throw new NodeError('NODE_USAGE', `--ttl ${ttl} is no duration from a second to 30 days.`, {
    hint: 'Nothing was changed. Write it like 10m or 2h.',
  })
}

/** Until Ctrl-C, or --timeout, which is its ordinary end. */
export async function observe(cli: Cli, ref: string, name: string): Promise<void> {
  try {
    for await (const change of cli.client.observe(ref, name, cli.signal)) {
      cli.row(change, () => {
        const at = momentText(change.at, cli.clock.now())
        return printable(`${at}  ${change.name} = ${plainText(change.value)}`)
      })
    }
  } catch (error) {
    if (!isTimeout(cli.signal.reason)) throw error
  }
}
