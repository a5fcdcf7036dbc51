/** Channels and releases, made and signed by this process: `kith update init, publish`. */
import { mkdir, rm, stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'

import { systemRandom } from '../../env.ts'
import { asError, NodeError } from '../../errors.ts'
import { printable } from '../../printable.ts'
import { targetPath } from '../../../protocols/update/index.ts'
import type { KeptChannel, MadeRelease, MakeProgress, MakeSummary } from '../../release.ts'
import type { UpdatesState } from '../../api/view.ts'
import type { Cli } from '../context.ts'
import {
  argsFrom,
  healthFrom,
  installerFor,
  targetFrom,
  usage,
  type AboutOptions,
} from '../update-options.ts'
import { channelOf, foldersOf, progressLine, sizeText } from '../update-place.ts'
import { handIn, newPassphrase } from './update-sign.ts'

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

export interface PublishOptions extends AboutOptions {
  readonly name?: string
  readonly build?: string
  readonly channel?: string
  readonly security?: boolean
  readonly best?: boolean
  readonly out?: string
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
  const { index } = made.release
  const done = await handIn(
    cli,
    { targets: draft, inForce: repository.root, indexes: [made.release.bytes] },
    { ...options, channel, keys: [resolve(options.keys ?? folders.keys)] },
  )
  const { build } = index
  const about = { name, version, build, channel, path: targetPath(index), ...made.summary }
  cli.result({ ...about, ...done }, () => summaryText(made, made.summary))
  if (done.published) cli.note('See how it spreads with: kith update status')
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

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}
