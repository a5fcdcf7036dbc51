/**
 * Whole systems in two slots, by SWUpdate: its images and its signatures. An image names what is
 * written for each slot as a selection, such as `stable,copy-b`. Which slot the machine starts is
 * asked and told by a program of the owner's: `booted` prints it, `set SLOT` is for the next start.
 */
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'

import { writeFileAtomic } from '../../storage/files.ts'
import { keepFile, makeFolder, namesIn, removeSafely, requireSpace } from './disk.ts'
import { InstallError } from './errors.ts'
import { runProgram } from './run.ts'
import type { Site } from './site.ts'
import { buildName, buildOf, type Build, type Installer } from './types.ts'

const INSTALL_MS = 3_600_000
const SHORT_MS = 60_000
const SLOT = /^[a-z0-9]{1,16}$/

export function swupdateInstaller({ root, clock, swupdate }: Site): Installer {
  const names = Object.keys(swupdate?.slots ?? {})
  if (swupdate === undefined || names.length !== 2 || !names.every((name) => SLOT.test(name))) {
    throw new InstallError(
      'INSTALL_ARGUMENTS',
      'SWUpdate is not set up on this device with two slots',
    )
  }
  const { argv, slot, slots, reboot } = swupdate
  const images = join(root, 'images')
  /** For each slot a file that says what is in it. */
  const held = join(root, 'slots')
  const fileOf = (build: Build): string => join(images, `${buildName(build)}.swu`)
  const run = (
    words: readonly string[],
    signal: AbortSignal,
    timeoutMs = SHORT_MS,
  ): Promise<string> => runProgram({ argv: words, clock, timeoutMs, signal })

  async function booted(signal: AbortSignal): Promise<string> {
    const name = (await run([...slot, 'booted'], signal)).trim()
    if (!names.includes(name))
      throw new InstallError('INSTALL_PROGRAM', 'which slot the machine started from is not known')
    return name
  }

  async function other(signal: AbortSignal): Promise<string> {
    const running = await booted(signal)
    return names.find((name) => name !== running) ?? running
  }

  async function buildIn(name: string): Promise<Build | undefined> {
    const text = await readFile(join(held, name), 'utf8').catch(() => '')
    return buildOf(text.trim())
  }

  const nextStart = async (name: string, signal: AbortSignal): Promise<void> =>
    void (await run([...slot, 'set', name], signal))

  return {
    name: 'swupdate',
    async stage({ release, file, signal }) {
      await makeFolder(images, 0o700)
      await makeFolder(held, 0o700)
      await requireSpace(images, (await stat(file)).size)
      const kept = await keepFile(file, images, `${buildName(release)}.swu`)
      const selection = slots[await other(signal)] ?? ''
      // Checks the signature, and that the selection is in it.
      await run([...argv, '--select', selection, '--check', '--image', kept], signal, INSTALL_MS)
    },
    async switch({ release, signal }) {
      const target = await other(signal)
      // While it is being written, a slot holds nothing.
      await removeSafely(join(held, target))
      await run(
        [...argv, '--select', slots[target] ?? '', '--image', fileOf(release)],
        signal,
        INSTALL_MS,
      )
      await writeFileAtomic(join(held, target), Buffer.from(`${buildName(release)}\n`))
      await nextStart(target, signal)
    },
    reboot: async (signal) => void (await run(reboot, signal)),
    current: async (signal) => buildIn(await booted(signal)),
    async confirm({ signal }) {
      await nextStart(await booted(signal), signal)
    },
    async revert({ release, signal }) {
      const running = await booted(signal)
      const ill = await buildIn(running)
      const runs = ill !== undefined && buildName(ill) === buildName(release)
      await nextStart(runs ? await other(signal) : running, signal)
    },
    async tidy(keep) {
      const kept = new Set(keep.map((build) => `${buildName(build)}.swu`))
      for (const name of await namesIn(images)) {
        if (!kept.has(name)) await removeSafely(join(images, name))
      }
    },
  }
}
