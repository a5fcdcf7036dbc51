/** Changes of a channel that are no release: taking one back, and trusting the channel no more. */
import { join, resolve } from 'node:path'

import { targetPath } from '../../../protocols/update/index.ts'
import { NodeError } from '../../errors.ts'
import { printable } from '../../printable.ts'
import type { Cli } from '../context.ts'
import { confirm } from '../prompt.ts'
import { buildOf, channelOf, foldersOf } from '../update-place.ts'
import { handIn } from './update-sign.ts'

interface WithdrawOptions {
  readonly channel?: string
  readonly keys?: string
  readonly out?: string
  readonly passphraseFile?: string
}

/** Devices that run it go on; nobody installs it any more, and nothing else may have its build. */
export async function withdraw(
  cli: Cli,
  name: string,
  which: string,
  options: WithdrawOptions,
): Promise<void> {
  const door = await import('../../release.ts')
  const folders = foldersOf(cli)
  const state = await cli.client.updates()
  const channel = channelOf(state, options.channel, ({ signedHere }) => signedHere).name
  const build = await buildOf(cli, name, which)
  const repository = await door.readChannel(join(folders.repositories, channel))
  const release = (await repository.builds(name)).find(({ index }) => index.build === build)
  if (release === undefined) {
    throw new NodeError('NODE_NOT_FOUND', `The channel ${channel} does not list ${name} ${which}.`)
  }
  const path = targetPath(release.index)
  await confirm(
    cli,
    `Take back ${printable(path)}? Devices that run it go on; no other installs it.`,
  )
  const nowMs = cli.clock.now()
  const draft = door.nextTargets(repository.targets, { remove: [path], nowMs })
  const done = await handIn(
    cli,
    { targets: draft, inForce: repository.root, indexes: [] },
    { ...options, channel, keys: [resolve(options.keys ?? folders.keys)] },
  )
  const { published: withdrawn, ...rest } = done
  cli.result({ name, build, channel, path, withdrawn, ...rest }, () =>
    withdrawn ? `${printable(path)} is taken back.` : `${printable(path)} waits for signatures.`,
  )
}

/** What is installed stays. */
export async function distrust(cli: Cli, channel: string): Promise<void> {
  const { name } = channelOf(await cli.client.updates(), channel)
  await confirm(
    cli,
    `Trust the channel ${printable(name)} no more? What it brought stays installed, and nothing new of it comes.`,
  )
  await cli.client.distrustChannel(name)
  cli.result({ channel: name }, () => `The home trusts the channel ${printable(name)} no more.`)
}

/** On this device. */
export async function forgive(cli: Cli, name: string, which: string): Promise<void> {
  const build = await buildOf(cli, name, which)
  await cli.client.forgiveUpdate(name, build)
  cli.result(
    { name, build },
    () => `Build ${build} of ${printable(name)} may be tried again on this device.`,
  )
}
