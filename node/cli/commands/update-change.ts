/** Changes of a channel that are no release: taking one back, and trusting the channel no more. */
import { mkdir, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'

import { targetPath } from '../../../protocols/update/index.ts'
import { NodeError } from '../../errors.ts'
import { printable } from '../../printable.ts'
import type { Cli } from '../context.ts'
import { confirm } from '../prompt.ts'
import { saveNew } from '../save.ts'
import { buildOf, channelOf, foldersOf } from '../update-place.ts'
import { asking, handOver } from './update-publish.ts'

interface WithdrawOptions {
  readonly channel?: string
  readonly keys?: string
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
  const place = join(folders.state, 'drafts', channel)
  await rm(place, { recursive: true, force: true })
  await mkdir(place, { recursive: true, mode: 0o700 })
  const file = join(place, 'targets.json')
  await saveNew(file, draft)
  const { towards } = await door.signMetadata({
    file,
    keysFolder: resolve(options.keys ?? folders.keys),
    ask: asking(cli, options),
    channel,
    root: repository.root,
  })
  const missing = Math.max(0, ...towards.map(({ need, have }) => need - have.length))
  const about = { name, build, channel, path, withdrawn: missing === 0 }
  if (missing > 0) {
    cli.result({ ...about, draft: file }, () => `${missing} more signatures are needed.`)
    cli.note(`kith update sign ${file} --keys DIR, then: kith update submit ${file}`)
    return
  }
  await handOver(cli, channel, file)
  cli.result(about, () => `${printable(path)} is taken back.`)
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
