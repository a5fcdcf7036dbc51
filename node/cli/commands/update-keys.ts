/** The keys of a channel: making them anywhere, and changing which ones count. */
import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'

import { systemRandom } from '../../env.ts'
import type { Role } from '../../release.ts'
import type { Cli } from '../context.ts'
import { usage } from '../update-options.ts'
import { channelOf, foldersOf } from '../update-place.ts'
import { handIn, newPassphrase } from './update-sign.ts'

const ROLES = ['root', 'targets', 'snapshot', 'timestamp'] as const

interface NewOptions {
  readonly channel: string
  readonly keys?: string
  readonly out?: string
  readonly encrypt?: boolean
  readonly passphraseFile?: string
}

/** Needs neither network nor a running device. */
export async function newKeys(
  cli: Cli,
  said: readonly string[],
  options: NewOptions,
): Promise<void> {
  const { channel } = options
  const out = resolve(options.out ?? '.')
  const passphrase = await newPassphrase(cli, options)
  await mkdir(out, { recursive: true })
  const keys: { role: Role; id: string; file: string; public: string }[] = []
  for (const role of rolesIn(said)) {
    const { key, file } = await make(cli, { channel, role, folder: options.keys, passphrase })
    const { writePublicKey } = await import('../../release.ts')
    keys.push({ role, id: key.id, file, public: await writePublicKey(out, key) })
  }
  cli.result({ channel, keys }, () =>
    keys.map(({ role, id, public: path }) => `${role}  ${id}  ${path}`).join('\n'),
  )
  cli.note('Where the channel is signed: kith update keys rotate --add FILE')
}

interface RotateOptions extends Omit<NewOptions, 'channel'> {
  readonly channel?: string
  readonly add: readonly string[]
  readonly remove: readonly string[]
  readonly newKeys?: string
  readonly rootKeys?: number
  readonly targetsKeys?: number
  readonly rootThreshold?: number
  readonly targetsThreshold?: number
}

/** Without a role and without a change: the same keys, for longer. */
export async function rotate(
  cli: Cli,
  said: readonly string[],
  options: RotateOptions,
): Promise<void> {
  const door = await import('../../release.ts')
  const folders = foldersOf(cli)
  const state = await cli.client.updates()
  const channel = channelOf(state, options.channel, ({ signedHere }) => signedHere).name
  const now = await door.readChannel(join(folders.repositories, channel))
  const keys = resolve(options.keys ?? folders.keys)
  const fresh = resolve(options.newKeys ?? keys)
  const added = []
  for (const path of options.add) added.push(await door.readPublicKey(resolve(path), channel))
  const gone = new Set(options.remove.map((id) => oneId(now.keys, id)))
  const passphrase = await newPassphrase(cli, { encrypt: options.encrypt === true })
  for (const role of rolesIn(said)) {
    const old = await replaced(cli, now.keys, role)
    for (const id of old) gone.add(id)
    const count = countOf(options, role) ?? Math.max(1, old.length)
    for (let i = 0; i < count; i++) {
      const { key } = await make(cli, { channel, role, folder: fresh, passphrase })
      added.push(key)
    }
  }
  const { rootThreshold, targetsThreshold } = options
  const draft = door.rotation(now, {
    add: added,
    remove: [...gone],
    thresholds: {
      ...(rootThreshold !== undefined && { root: rootThreshold }),
      ...(targetsThreshold !== undefined && { targets: targetsThreshold }),
    },
    nowMs: cli.clock.now(),
  })
  const done = await handIn(cli, draft, {
    channel,
    keys: fresh === keys ? [keys] : [keys, fresh],
    out: options.out,
    passphraseFile: options.passphraseFile,
  })
  const changed = { added: added.map(({ role, id }) => ({ role, id })), removed: [...gone] }
  cli.result({ channel, ...changed, ...done }, () =>
    done.published
      ? `The keys of the channel ${channel} are changed: ${added.length} new, ${gone.size} gone.`
      : `The new keys wait for signatures in ${done.draft ?? ''}.`,
  )
}

/** Of keys that stay with devices, those of this one; of others, all. */
async function replaced(
  cli: Cli,
  keys: readonly { readonly role: Role; readonly id: string }[],
  role: Role,
): Promise<readonly string[]> {
  const all = keys.filter((key) => key.role === role).map(({ id }) => id)
  if (role === 'root' || role === 'targets') return all
  const { listKeyFiles } = await import('../../release.ts')
  const here = (await listKeyFiles(foldersOf(cli).online)).map(({ id }) => id)
  return all.filter((id) => here.includes(id))
}

async function make(
  cli: Cli,
  {
    channel,
    role,
    folder,
    passphrase,
  }: {
    readonly channel: string
    readonly role: Role
    readonly folder: string | undefined
    readonly passphrase: string | undefined
  },
) {
  const { newUpdateKey, writeKeyFile } = await import('../../release.ts')
  const folders = foldersOf(cli)
  const isOnline = role === 'snapshot' || role === 'timestamp'
  const key = newUpdateKey(channel, role, systemRandom)
  const place = isOnline ? folders.online : resolve(folder ?? folders.keys)
  // The device signs with its own keys by itself.
  const secret = isOnline || passphrase === undefined ? {} : { passphrase }
  return { key, file: await writeKeyFile(place, key, { random: systemRandom, ...secret }) }
}

function countOf({ rootKeys, targetsKeys }: RotateOptions, role: Role): number | undefined {
  if (role === 'root') return rootKeys
  return role === 'targets' ? targetsKeys : 1
}

function rolesIn(said: readonly string[]): readonly Role[] {
  return [...new Set(said)].map((one) => {
    const role = ROLES.find((name) => name === one)
    if (role === undefined) throw usage(`${one}: a key is for ${ROLES.join(', ')}.`)
    return role
  })
}

function oneId(keys: readonly { readonly id: string }[], said: string): string {
  const found = keys.filter(({ id }) => id.startsWith(said))
  const [first] = found
  if (said.length >= 8 && found.length === 1 && first !== undefined) return first.id
  throw usage(`--remove ${said}: the first 8 letters at least of the id of one key.`)
}
