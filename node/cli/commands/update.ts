/** Releases in the home: who has what, what owners decide, and files of releases. */
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'

import type { UpdatesState, UpdateSourceView } from '../../api/view.ts'
import { printable } from '../../printable.ts'
import type { Inspected } from '../../release.ts'
import type { Cli } from '../context.ts'
import { table } from '../print.ts'
import { confirm } from '../prompt.ts'
import { buildOf, channelOf, foldersOf, progressLine, sizeText } from '../update-place.ts'
import { listText, statusText } from '../update-text.ts'

export async function list(cli: Cli): Promise<void> {
  const { channels, installed } = await cli.client.updates()
  cli.result({ channels, installed }, () => listText({ channels, installed }))
}

/** `--follow` shows every change, until it is stopped. */
export async function status(
  cli: Cli,
  { follow }: { readonly follow?: boolean } = {},
): Promise<void> {
  const state = await cli.client.updates()
  const show = (now: UpdatesState): void => {
    const { devices, rollout, channels } = now
    cli.result({ devices, rollout, channels }, () => statusText(now, cli.clock.now()))
  }
  show(state)
  if (follow !== true) return
  for await (const { type, data } of cli.client.events(undefined, cli.signal)) {
    if (type === 'update.fetching') {
      cli.row({ type, ...data }, () => fetchingText(data))
    } else if (type === 'update.report') {
      cli.row({ type, ...data }, () => reportText(data))
    }
  }
}

type Data = Readonly<Record<string, unknown>>

function fetchingText({ name, version, percent, bytesPerSecond, peers }: Data): string {
  const speed = `${sizeText(Number(bytesPerSecond))}/s from ${String(peers)} devices`
  return `this device  ${printable(String(name))} ${printable(String(version))}  fetching ${String(percent)} %, ${speed}`
}

function reportText({ deviceName, name, version, phase, code }: Data): string {
  const why = typeof code === 'string' ? ` (${printable(code)})` : ''
  return `${printable(String(deviceName))}  ${printable(String(name))} ${printable(String(version))}  ${String(phase)}${why}`
}

interface FetchOptions {
  readonly to: string
  readonly build?: string
}

/** Get and verify; nothing is installed. */
export async function fetch(cli: Cli, name: string, { to, build }: FetchOptions): Promise<void> {
  const query = build === undefined ? {} : { build: await buildOf(cli, name, build) }
  const line = progressLine(cli)
  let text = ''
  let from: readonly UpdateSourceView[] = []
  for await (const row of cli.client.fetchRelease(name, query, cli.signal)) {
    if ('index' in row) {
      text += row.index
      from = row.from ?? from
    } else {
      line.show(
        `fetching ${sizeText(row.doneBytes)} of ${sizeText(row.bytes)} from ${row.peers} devices`,
      )
    }
  }
  line.end()
  const { putTogether } = await import('../../release.ts')
  const { store } = await cli.client.updates()
  const place = { folder: foldersOf(cli).chunks, maxBytes: store.maxBytes }
  const index = new Uint8Array(Buffer.from(text, 'base64'))
  const opened = await putTogether({ ...place, index }, resolve(to), cli.signal)
  const { version, build: found, rawBytes } = opened.index
  cli.result({ name, version, build: found, file: to, bytes: rawBytes, from }, () =>
    [
      `${printable(name)} ${printable(version)} (build ${found}), verified: ${to}, ${sizeText(rawBytes)}.`,
      ...from.map((one) => `${sizeText(one.bytes)} from ${printable(one.name)}`),
    ].join('\n'),
  )
}

/** Needs no running device. Nothing in the file is verified but its own form. */
export async function inspect(cli: Cli, file: string): Promise<void> {
  const door = await import('../../release.ts')
  const found = await door.inspect(file)
  cli.result(plain(found), () => inspectedText(found))
}

/** Bytes as hexadecimal. */
function plain(found: Inspected): unknown {
  const text = JSON.stringify(found, (_key, value: unknown) =>
    value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value,
  )
  return JSON.parse(text)
}

function inspectedText(found: Inspected): string {
  if (found.kind === 'key') {
    const { channel, role, id, encrypted } = found.key
    return `A key of the channel ${channel} for ${role}, ${encrypted ? 'under a passphrase' : 'not encrypted'}: ${id}`
  }
  if (found.kind === 'index') {
    const { index, sha256 } = found
    const { hardware, arch, groups } = index.for
    const only = [...hardware, ...arch, ...groups]
    return [
      `A release: ${printable(found.path)}`,
      `id         ${sha256}`,
      `installer  ${index.installer}`,
      `size       ${sizeText(index.rawBytes)} in ${index.chunks.length} chunks, ${index.patches?.length ?? 0} patches`,
      `for        ${only.length === 0 ? 'every device' : only.map(printable).join(', ')}`,
    ].join('\n')
  }
  const { role, version, expires, signatures, sha256, releases = [], keys = [] } = found
  return [
    `${role} ${version}, until ${expires}, ${signatures.length} signatures`,
    `SHA-256 ${sha256}`,
    ...keys.map((key) => `${key.role.padEnd(9)}  ${key.id}  (${key.threshold} needed)`),
    ...(releases.length === 0
      ? []
      : [
          table(
            ['RELEASE', 'BYTES', 'INDEX'],
            releases.map((one) => [one.path, String(one.length), one.sha256.slice(0, 16)]),
          ),
        ]),
  ].join('\n')
}

/** Asks first: whoever has the keys of the channel decides what runs here. */
export async function trust(
  cli: Cli,
  file: string,
  { channel }: { readonly channel: string },
): Promise<void> {
  const { trustRoot } = await import('../../release.ts')
  const root = new Uint8Array(await readFile(file))
  const { pin: hash, expires } = trustRoot(root)
  const hex = Buffer.from(hash).toString('hex')
  await confirm(
    cli,
    `Trust the channel ${printable(channel)} with the root ${hex}? Whoever has its keys decides what runs on the devices of this home.`,
  )
  const found = await cli.client.trustChannel({
    name: channel,
    root: Buffer.from(root).toString('base64'),
  })
  cli.result({ ...found, expires }, () => `The home trusts the channel ${printable(channel)} now.`)
}

export async function exportChannel(
  cli: Cli,
  folder: string,
  { channel }: { readonly channel?: string },
): Promise<void> {
  const { name } = channelOf(await cli.client.updates(), channel)
  const found = await cli.client.exportChannel(name, resolve(folder))
  cli.result(found, () => transferText(`Wrote the channel ${name} to ${folder}`, found))
}

export async function importChannel(
  cli: Cli,
  folder: string,
  { channel }: { readonly channel?: string },
): Promise<void> {
  const { readMark } = await import('../../release.ts')
  const name = channel ?? (await readMark(resolve(folder))).channel
  const found = await cli.client.importChannel(name, resolve(folder))
  cli.result(found, () =>
    transferText(`Verified the channel ${printable(name)} from ${folder}`, found),
  )
}

function transferText(
  what: string,
  {
    releases,
    chunks,
    bytes,
    missing,
  }: {
    readonly releases: number
    readonly chunks: number
    readonly bytes: number
    readonly missing: number
  },
): string {
  const rest = missing === 0 ? '' : ` ${missing} chunks were missing.`
  return `${what}: ${releases} releases, ${chunks} chunks, ${sizeText(bytes)}.${rest}`
}
