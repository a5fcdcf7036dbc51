/** A channel in a folder or behind a URL, judged as a device judges it. Needs no running device. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import process from 'node:process'

import { printable } from '../../printable.ts'
import type { ChannelView } from '../../release.ts'
import type { Cli } from '../context.ts'
import { table } from '../print.ts'
import { usage } from '../update-options.ts'
import { channelOf } from '../update-place.ts'

interface CheckOptions {
  readonly root?: string
  readonly pin?: string
  readonly channel?: string
  readonly memory?: string
}

/** Ends with 1 where the channel is refused. */
export async function check(cli: Cli, where: string, options: CheckOptions): Promise<void> {
  const door = await import('../../release.ts')
  const isUrl = /^https?:\/\//.test(where)
  const pin = await pinOf(cli, options)
  const own = options.memory === undefined
  const memory = own ? await mkdtemp(join(tmpdir(), 'kith-check-')) : resolve(options.memory)
  const source = isUrl ? door.httpSource(where) : door.folderSource(resolve(where))
  const channel = options.channel ?? 'home'
  try {
    const view = await door.refreshOnce({ memory, channel, source, pin }, cli.signal)
    const { roles, releases, alarms } = view
    cli.result({ ok: true, roles, releases, alarms }, () => goodText(view))
  } catch (error) {
    const { code, about, message } = error as { code?: string; about?: string; message: string }
    if (code?.startsWith('TUF_') !== true) throw error
    cli.result({ ok: false, code, about, why: message }, () => `Refused: ${printable(message)}`)
    process.exitCode = 1
  } finally {
    if (own) await rm(memory, { recursive: true, force: true })
  }
}

/** What the channel is held against: a root, its hash, or what this home pins. */
async function pinOf(cli: Cli, { root, pin, channel }: CheckOptions): Promise<Uint8Array> {
  if (root !== undefined) {
    const { trustRoot } = await import('../../release.ts')
    return trustRoot(new Uint8Array(await readFile(root))).pin
  }
  const hex = pin ?? channelOf(await cli.client.updates(), channel).root
  if (!/^[0-9a-f]{64}$/.test(hex)) throw usage('--pin: 64 hexadecimal digits.')
  return new Uint8Array(Buffer.from(hex, 'hex'))
}

function goodText({ roles, releases, alarms }: ChannelView): string {
  const good = Object.entries(roles).map(([role, { version, expiresMs }]) => [
    role,
    String(version),
    new Date(expiresMs).toISOString().slice(0, 10),
  ])
  return [
    table(['FILE', 'VERSION', 'GOOD UNTIL'], good),
    ...releases.map(({ path, conflict }) => `${printable(path)}${conflict ? '  CONFLICT' : ''}`),
    ...alarms.map(({ name, build }) => `Two releases are ${printable(name)} build ${build}.`),
  ].join('\n')
}
