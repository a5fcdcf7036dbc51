/** Channels and releases, made and signed by this process: `kith update init, publish, sign, submit`. */
import { mkdir, readFile, readdir, rm, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'

import { systemRandom } from '../../env.ts'
import { asError, NodeError } from '../../errors.ts'
import { printable } from '../../printable.ts'
import { targetPath } from '../../../protocols/update/index.ts'
import type { KeptChannel, MadeRelease, MakeProgress, MakeSummary } from '../../release.ts'
import type { UpdatesState } from '../../api/view.ts'
import type { Cli } from '../context.ts'
import { askSecret } from '../secret.ts'
import {
  argsFrom,
  healthFrom,
  installerFor,
  targetFrom,
  usage,
  type AboutOptions,
} from '../update-options.ts'
import { channelOf, foldersOf, progressLine, sizeText } from '../update-place.ts'
import { readSecret, saveNew } from '../save.ts'

export interface InitOptions {
  readonly channel: string
  readonly keys?: string
  readonly rootKeys: number
  readonly targetsKeys: number
  readonly threshold: number
  readonly encrypt?: boolean
  readonly passphraseFile?: string
}

/** Make a channel and have the home trust it. */
export async function init(cli: Cli, options: InitOptions): Promise<void> {
  const { channel, threshold, rootKeys, targetsKeys } = options
  if (threshold > rootKeys || threshold > targetsKeys) {
    throw usage(`A threshold of ${threshold} needs as many keys of each kind.`)
  }
  const door = await import('../../release.ts')
  const folders = foldersOf(cli)
  const state = await cli.client.updates()
  if (state.channels.some(({ name }) => name === channel)) {
    throw new NodeError('NODE_CONFLICT', `This home has a channel ${channel} already.`)
  }
  const keysFolder = resolve(options.keys ?? folders.keys)
  const passphrase = await newPassphrase(cli, options)
  const folder = join(folders.repositories, channel)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const made = await door.initChannel({
    folder,
    channel,
    keysFolder,
    onlineFolder: folders.online,
    keys: { root: rootKeys, targets: targetsKeys },
    thresholds: { root: threshold, targets: threshold },
    ...(passphrase === undefined ? {} : { passphrase }),
    random: systemRandom,
    nowMs: cli.clock.now(),
  })
  try {
    await cli.client.trustChannel({ name: channel, root: base64(made.root) })
  } catch (error) {
    // The home does not know it: nothing is lost with it.
    for (const file of [...made.offline, ...made.online]) await rm(file, { force: true })
    await rm(folder, { recursive: true, force: true })
    throw error
  }
  const root = Buffer.from(made.pin).toString('hex')
  cli.result(
    { channel, root, keys: made.offline },
    () => `The home trusts the channel ${channel} now.`,
  )
  cli.note(`Keys that sign releases are in ${keysFolder}. Move them to a stick, and keep a copy.`)
}

async function newPassphrase(
  cli: Cli,
  { encrypt, passphraseFile }: InitOptions,
): Promise<string | undefined> {
  if (passphraseFile !== undefined) return readSecret(passphraseFile)
  if (encrypt !== true) return undefined
  return askSecret(cli, 'A passphrase for the keys')
}

export interface PublishOptions extends AboutOptions {
  readonly name?: string
  readonly build?: string
  readonly channel?: string
  readonly security?: boolean
  readonly best?: boolean
  readonly keys?: string
  readonly passphraseFile?: string
}

/** Cut, pack, sign and hand over. */
export async function publish(
  cli: Cli,
  path: string,
  version: string,
  options: PublishOptions,
): Promise<void> {
  const door = await import('../../release.ts')
  const folders = foldersOf(cli)
  const state = await cli.client.updates()
  const channel = channelOf(state, options.channel, ({ signedHere }) => signedHere).name
  const repository = await door.readChannel(join(folders.repositories, channel))
  const name = options.name ?? basename(resolve(path)).toLowerCase()
  const previous = await repository.builds(name)
  const lastBuild = repository.lastBuild(name)
  const made = await make(cli, { path, name, version, options, previous, lastBuild, state })
  const draft = door.nextTargets(repository.targets, {
    add: [made.release.bytes],
    nowMs: cli.clock.now(),
  })
  const place = join(folders.state, 'drafts', channel)
  const file = await writeDraft(place, draft, made.release.bytes)
  const signed = await door.signMetadata({
    file,
    keysFolder: resolve(options.keys ?? folders.keys),
    ask: asking(cli, options),
    channel,
    root: repository.root,
  })
  const { index } = made.release
  const { build } = index
  const [towards] = signed.towards
  const missing = (towards?.need ?? 1) - (towards?.have.length ?? 0)
  const about = { name, version, build, channel, path: targetPath(index), ...made.summary }
  if (missing > 0) {
    cli.result({ ...about, published: false, draft: file }, () => summaryText(made, made.summary))
    cli.note(
      `${missing} more ${missing === 1 ? 'signature is' : 'signatures are'} needed: kith update sign ${file} --keys DIR, then: kith update submit ${file}`,
    )
    return
  }
  await handOver(cli, channel, file)
  cli.result({ ...about, published: true }, () => summaryText(made, made.summary))
  cli.note('See how it spreads with: kith update status')
}

interface Making {
  readonly path: string
  readonly name: string
  readonly version: string
  readonly options: PublishOptions
  readonly previous: Awaited<ReturnType<KeptChannel['builds']>>
  readonly lastBuild: number
  readonly state: UpdatesState
}

async function make(
  cli: Cli,
  { path, name, version, options, previous, lastBuild, state }: Making,
): Promise<MadeRelease> {
  const { publishInto } = await import('../../release.ts')
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    (cause: unknown) => {
      throw new NodeError('NODE_NOT_FOUND', `${path}: ${asError(cause).message}`, { cause })
    },
  )
  const health = healthFrom(options.health)
  const line = progressLine(cli)
  try {
    return await publishInto(
      {
        folder: foldersOf(cli).chunks,
        maxBytes: state.store.maxBytes,
        path: resolve(path),
        about: {
          name,
          version,
          build: buildFrom(options.build, lastBuild),
          for: targetFrom(options.for),
          installer: installerFor(path, options.installer, isFolder),
          args: argsFrom(options.arg),
          ...(health === undefined ? {} : { health }),
          ...(options.security === true ? { security: true } : {}),
        },
        best: options.best === true,
        previous,
        onProgress: (progress) => line.show(progressText(progress)),
      },
      cli.signal,
    )
  } finally {
    line.end()
  }
}

function buildFrom(said: string | undefined, newest: number): number {
  if (said === undefined) return newest + 1
  const build = Number(said)
  if (/^[1-9]\d{0,9}$/.test(said) && build > newest) return build
  throw usage(`--build ${said}: it must be a whole number over ${newest}.`)
}

function progressText({ phase, doneBytes, allBytes, storedBytes, from }: MakeProgress): string {
  const percent = Math.floor((100 * doneBytes) / Math.max(1, allBytes))
  const what = phase === 'chunks' ? 'packing' : `patch from ${from ?? ''}`
  return `${what} ${percent} %  ${sizeText(doneBytes)} of ${sizeText(allBytes)}, ${sizeText(storedBytes)} packed`
}

function summaryText({ release: { index } }: MadeRelease, summary: MakeSummary): string {
  const { raw, stored, new: fresh, chunks, newChunks, patches } = summary
  const lines = [
    `${printable(index.name)} ${printable(index.version)} (build ${index.build}): ${sizeText(raw)} in ${chunks} chunks, ${sizeText(stored)} packed.`,
    `New against the last version: ${newChunks} chunks, ${sizeText(fresh)}.`,
    ...patches
      .filter(({ result }) => result === 'made')
      .map(({ version, bytes }) => `Patch from ${printable(version)}: ${sizeText(bytes)}.`),
    `Index ${summary.index}`,
  ]
  return lines.join('\n')
}

async function writeDraft(place: string, draft: Uint8Array, index: Uint8Array): Promise<string> {
  await rm(place, { recursive: true, force: true })
  await mkdir(place, { recursive: true, mode: 0o700 })
  await saveNew(join(place, 'release.index'), index)
  const file = join(place, 'targets.json')
  await saveNew(file, draft)
  return file
}

/** Give a signed file, with the indexes beside it, to the device. */
export async function handOver(cli: Cli, channel: string, file: string): Promise<void> {
  const place = dirname(file)
  const names = (await readdir(place)).filter((name) => name.endsWith('.index'))
  const indexes = await Promise.all(names.map((name) => readFile(join(place, name))))
  const { inspect } = await import('../../release.ts')
  const found = await inspect(file)
  const role = found.kind === 'metadata' ? found.role : undefined
  if (role !== 'targets' && role !== 'root')
    throw usage(`${file} is no list of releases and no root.`)
  await cli.client.acceptSigned(channel, {
    role,
    file: base64(await readFile(file)),
    indexes: role === 'targets' ? indexes.map(base64) : [],
  })
}

export interface SignOptions {
  readonly keys?: string
  readonly channel?: string
  readonly root?: string
  readonly passphraseFile?: string
}

/** Needs neither network nor a running device. */
export async function sign(cli: Cli, file: string, options: SignOptions): Promise<void> {
  const { signMetadata } = await import('../../release.ts')
  const { channel, root } = options
  const signed = await signMetadata({
    file,
    keysFolder: resolve(options.keys ?? foldersOf(cli).keys),
    ask: asking(cli, options),
    ...(channel === undefined ? {} : { channel }),
    ...(root === undefined ? {} : { root: new Uint8Array(await readFile(root)) }),
  })
  const { role, version, signed: ids, towards } = signed
  cli.result({ file, role, version, signed: ids, towards }, () =>
    [
      `Signed ${role} ${version} with ${ids.length} ${ids.length === 1 ? 'key' : 'keys'}.`,
      ...towards.map(({ have, need }) => `${have.length} of ${need} signatures that are needed.`),
    ].join('\n'),
  )
}

/** A draft that has its signatures. */
export async function submit(
  cli: Cli,
  file: string | undefined,
  options: { readonly channel?: string },
): Promise<void> {
  const state = await cli.client.updates()
  const channel = channelOf(state, options.channel, ({ signedHere }) => signedHere).name
  const draft = file ?? join(foldersOf(cli).state, 'drafts', channel, 'targets.json')
  await handOver(cli, channel, resolve(draft))
  cli.result({ channel, file: draft }, () => `The channel ${channel} has it now.`)
}

/** Asks for a passphrase once. */
export function asking(cli: Cli, { passphraseFile }: { readonly passphraseFile?: string }) {
  let typed: Promise<string> | undefined
  return async ({ path }: { readonly path: string }): Promise<string> => {
    if (passphraseFile !== undefined) return readSecret(passphraseFile)
    typed ??= askSecret(cli, `The passphrase of ${basename(path)}`)
    return typed
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}
