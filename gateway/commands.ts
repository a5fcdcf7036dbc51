/** What the commands of the gateway do. Only `up` runs anything; the others ask what runs. */
import { readFile } from 'node:fs/promises'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'

import {
  confirm,
  EXIT,
  formatSize,
  loadConfig,
  NodeError,
  parseDuration,
  printable,
  settingFlags,
  Stopped,
  table,
  type Cli,
} from '../node/index.ts'
import type { GatewayStatus } from './answers.ts'
import { readGatewayText } from './config.ts'
import type { Verified } from './ledger/chain.ts'
import type { DrillResult } from './drill.ts'
import type { EgressDay } from './ledger/ledger.ts'
import { askGateway, gatewaySocket } from './local.ts'
import { policyOf } from './policy.ts'
import type { Refusal } from './policy-rights.ts'
import type { Preview, SinkPreview } from './samples.ts'

export async function up(cli: Cli, { set }: { readonly set: readonly string[] }): Promise<void> {
  // Whatever this process makes is for this user alone.
  process.umask(0o077)
  process.stderr.on('error', () => undefined)
  const config = await loadConfig({ ...cli.configInputs, flags: settingFlags(cli, set) })
  const { runGateway } = await import('./main.ts')
  await runGateway(config, cli.signal)
  process.exit(EXIT.ok)
}

async function ask<T>(cli: Cli, name: string, body?: unknown): Promise<T> {
  const socket = gatewaySocket(cli.socketPath)
  return (await askGateway(
    socket,
    { name, ...(body === undefined ? {} : { body }) },
    cli.signal,
  )) as T
}

export async function status(cli: Cli): Promise<void> {
  const now = await ask<GatewayStatus>(cli, 'status')
  cli.result(now, () => statusText(now))
}

function statusText({ gateway, home, sinks, refusals, fault, signed }: GatewayStatus): string {
  const rows = sinks.map(({ sink, type, state, waiting, waitingBytes, sent, dropped, aside }) => [
    sink,
    type,
    state,
    waiting === 0 ? '0' : `${waiting} (${formatSize(waitingBytes)})`,
    String(sent),
    String(dropped),
    String(aside),
  ])
  const away = sinks.flatMap(({ sink, why, state, holder }) => [
    ...(why === undefined ? [] : [printable(`${sink}: ${why}`)]),
    ...(state === 'stands-by' ? [printable(`${sink}: ${holder ?? 'nobody yet'} sends`)] : []),
  ])
  return [
    printable(home === null ? 'This gateway has no home yet.' : `${gateway}, gateway of ${home}`),
    signed.length === 0
      ? 'No owner has signed anything: nothing leaves.'
      : printable(`Signed: ${signed.join(', ')}`),
    ...(sinks.length === 0
      ? ['There are no sinks in gateway.toml.']
      : [table(['SINK', 'TYPE', 'STATE', 'WAITING', 'SENT', 'DROPPED', 'SET ASIDE'], rows)]),
    ...away,
    ...(fault === null
      ? []
      : [`The rules have a mistake, and the ones before are in force:\n${printable(fault)}`]),
    ...refusalLines(refusals),
  ].join('\n')
}

function refusalLines(refusals: readonly Refusal[]): string[] {
  return refusals.map(({ rule, sink, why }) =>
    printable(`${rule} (${sink}) is not in force: ${why}`),
  )
}

export async function egress(cli: Cli, { verify }: { readonly verify?: true }): Promise<void> {
  if (verify === true) return await verifyEgress(cli)
  const days = await ask<readonly EgressDay[]>(cli, 'egress')
  cli.result(days, () => egressText(days))
}

/** Exit 1 where something is wrong. */
async function verifyEgress(cli: Cli): Promise<void> {
  const verified = await ask<Verified>(cli, 'verify')
  cli.result(verified, () => verifiedText(verified))
  if (verified.problem !== undefined) throw new Stopped(EXIT.failed)
}

function verifiedText({ rows, first, last, hash, kills, problem }: Verified): string {
  if (problem !== undefined) return printable(`Wrong, after ${rows} good rows: ${problem}`)
  const missing = kills === 0 ? '' : `\nUp to a second is missing before each of ${kills} kills.`
  return `Rows ${first} to ${last} are signed by this gateway, in order, and say what is told.${missing}\nThe last has the hash ${hash}`
}

function egressText(days: readonly EgressDay[]): string {
  if (days.length === 0) return 'Nothing has left.'
  const rows = days.flatMap(({ day, sink, bytes, toldBytes, headerBytes, fields }) => [
    ...fields.map((one) => [
      day,
      sink,
      one.device,
      one.sensor === '' ? '(packs)' : one.sensor,
      String(one.bytes),
    ]),
    [day, sink, '', '(protocol and TLS)', String(bytes - toldBytes)],
    [day, sink, '', '(TCP and IP, estimated)', String(headerBytes)],
  ])
  return table(['DAY', 'SINK', 'DEVICE', 'WHAT', 'BYTES'], rows)
}

export async function policy(cli: Cli, { dryRun }: { readonly dryRun?: true }): Promise<void> {
  const preview = await ask<Preview>(cli, 'policy')
  const { sinks, ...rest } = preview
  const brief = sinks.map((one) => ({ ...one, samples: undefined }))
  const shown = dryRun === true ? preview : { ...rest, sinks: brief }
  cli.result(shown, () => policyText(preview, dryRun === true))
}

function policyText({ wanted, signed, refusals, sinks }: Preview, dryRun: boolean): string {
  const rights = wanted.map((right) => `--allow '${right}'`).join(' ')
  return [
    signed.length === 0 ? 'Signed: nothing' : `Signed: ${signed.join(', ')}`,
    ...sinks.flatMap((one) => sinkLines(one, dryRun)),
    ...refusalLines(refusals),
    ...(refusals.some((one) => one.sign.length > 0)
      ? ['', 'On an owner’s device:', `  kith gateway policy sign ${rights}`]
      : []),
  ].join('\n')
}

function sinkLines(
  { sink, type, leaves, samples, standIn, why }: SinkPreview,
  dryRun: boolean,
): string[] {
  const what = leaves.map(({ device, sensors }) => printable(`  ${device}: ${sensors.join(', ')}`))
  const head = [`${sink} (${type}) would get:`, ...(what.length === 0 ? ['  nothing'] : what)]
  if (!dryRun) return head
  const made = standIn ? ['  No reading is known here yet; made-up values stand in:'] : []
  return [
    ...head,
    ...made,
    ...samples.flatMap(({ to, body, headers }) => [
      printable(`  -> ${to}`),
      ...Object.entries(headers ?? {}).map(([name, value]) => printable(`     ${name}: ${value}`)),
      ...String(body)
        .trimEnd()
        .split('\n')
        .map((line) => printable(`     ${line}`)),
    ]),
    ...(why === undefined ? [] : [printable(`  no samples: ${why}`)]),
  ]
}

interface SignOptions {
  readonly allow: readonly string[]
  readonly file?: string
  readonly nothing?: true
}

export async function sign(cli: Cli, ref: string | undefined, options: SignOptions): Promise<void> {
  const gateway = ref ?? (await onlyGateway(cli))
  const caps = await wantedCaps(cli, options)
  const before = await cli.client.gatewayPolicy(gateway)
  const list = (items: readonly string[]): string => items.map((one) => `\n  ${one}`).join('')
  await confirm(
    cli,
    caps.length === 0
      ? `Take from ${printable(before.name)} all that it may have and call?`
      : `Sign for all of the home that ${printable(before.name)} may, and nothing else:${list(caps)}\n?`,
  )
  const now = await cli.client.signGatewayPolicy(gateway, caps)
  cli.result(now, () => {
    const taken = now.taken.length === 0 ? '' : `\nTaken back: ${now.taken.join(', ')}`
    const given = now.wider.length === 0 ? '' : `\nNew: ${now.wider.join(', ')}`
    return printable(`Signed for ${now.name}.`) + given + taken
  })
}

async function onlyGateway(cli: Cli): Promise<string> {
  const found = (await cli.client.devices()).filter(({ role }) => role === 'gateway')
  const [only] = found
  if (only !== undefined && found.length === 1) return only.id
  throw new NodeError('NODE_USAGE', `There are ${found.length} gateways in this home.`, {
    hint:
      found.length === 0
        ? 'Add one first: "kith pair" on it, then here: kith add --role gateway'
        : `Say which one: ${found.map(({ name }) => name).join(', ')}`,
  })
}

/** @throws NodeError NODE_USAGE, NODE_CONFIG */
async function wantedCaps(
  cli: Cli,
  { allow, file, nothing }: SignOptions,
): Promise<readonly string[]> {
  const given = [allow.length > 0, file !== undefined, nothing === true].filter(Boolean).length
  if (given !== 1) {
    throw new NodeError('NODE_USAGE', 'Say what to sign: --allow, --file or --nothing.', {
      hint: 'Nothing was changed. The gateway’s own "kith gateway policy" prints the line to type here.',
    })
  }
  if (file === undefined) return [...new Set(allow)].toSorted()
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new NodeError('NODE_USAGE', `${file} cannot be read.`, { cause })
  })
  if (text.trimStart().startsWith('{')) return wantedIn(text, file)
  const read = readGatewayText(text)
  if (read.ok) return policyOf(read.settings, [], await cli.client.devices()).wanted
  const [first] = read.problems
  throw new NodeError('NODE_CONFIG', `${file}:${first?.line ?? 1}: ${first?.key} ${first?.why}`)
}

function wantedIn(text: string, file: string): readonly string[] {
  try {
    const { wanted } = JSON.parse(text) as { wanted?: unknown }
    if (Array.isArray(wanted) && wanted.every((one) => typeof one === 'string')) return wanted
  } catch {
    // Said below.
  }
  throw new NodeError('NODE_USAGE', `${file} is not the output of "kith gateway policy --json".`)
}

export async function drill(cli: Cli, options: { readonly internet?: unknown }): Promise<void> {
  const text = options.internet
  const ms = typeof text === 'string' ? parseDuration(text) : undefined
  if (ms === undefined) {
    throw new NodeError('NODE_USAGE', 'Say for how long, like --no-internet 2m.')
  }
  cli.note(`The outside of this gateway is cut for ${String(text)}.`)
  const [found, api] = await Promise.all([
    ask<DrillResult>(cli, 'drill', { ms }),
    localApi(cli, ms / 2),
  ])
  const said = 'the local API of this device'
  const result = api
    ? { ...found, worked: [...found.worked, said] }
    : { ...found, stopped: [...found.stopped, said] }
  cli.result(result, () =>
    [
      result.stopped.length === 0 ? 'Nothing stopped.' : 'Stopped:',
      ...result.stopped.map((one) => printable(`  ${one}`)),
      'Went on:',
      ...result.worked.map((one) => printable(`  ${one}`)),
    ].join('\n'),
  )
}

/** Whether it answers, asked in the middle of the drill. */
async function localApi(cli: Cli, afterMs: number): Promise<boolean> {
  try {
    await sleep(afterMs, undefined, { signal: cli.signal })
    await cli.client.status()
    return true
  } catch {
    return false
  }
}
