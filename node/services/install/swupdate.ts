/**
 * Whole systems in two slots, by SWUpdate: its images and its signatures. An image names what is
 * written for each slot as a selection, such as `stable,copy-b`. Which slot the machine starts is
 * asked and told by a program of the owner's: `booted` prints it, `set SLOT` is for the next start.
 */
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'

import { writeFileAtomic } from '../../storage/files.ts'
import { keepFile, makeFolder, keepOnly, removeSafely, requireSpace } from './disk.ts'
import { InstallError } from './errors.ts'
import { runProgram } from './run.ts'
import type { Site, SwupdateSite } from './site.ts'
import { buildName, buildOf, sameBuild, type Build, type Installer } from './types.ts'

const INSTALL_MS = 3_600_000
const SHORT_MS = 60_000
const SLOT = /^[a-z0-9]{1,16}$/

export function swupdateInstaller({ root, clock, swupdate: found }: Site): Installer {
  const swupdate = requireSetUp(found)
  const names = Object.keys(swupdate.slots)
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

  const install = (words: readonly string[], signal: AbortSignal): Promise<void> =>
    run([...argv, ...words], signal, INSTALL_MS).then(() => undefined, requireSuccess)

  async function booted(signal: AbortSignal): Promise<string> {
    const name = (await run([...slot, 'booted'], signal)).trim()
    if (names.includes(name)) return name
    throw new InstallError('INSTALL_PROGRAM', 'no slot is known as the one that runs')
  }

  async function other(signal: AbortSignal): Promise<string> {
    const running = await booted(signal)
    return names.find((name) => name !== running) ?? running
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
      await install(['--select', selection, '--check', '--image', kept], signal)
    },
    async switch({ release, signal }) {
      const target = await other(signal)
      // While it is being written, a slot holds nothing.
      await removeSafely(join(held, target))
      await install(['--select', slots[target] ?? '', '--image', fileOf(release)], signal)
      await writeFileAtomic(join(held, target), Buffer.from(`${buildName(release)}\n`))
      await nextStart(target, signal)
    },
    reboot: async (signal) => void (await run(reboot, signal)),
    current: async (signal) => buildIn(held, await booted(signal)),
    async confirm({ signal }) {
      await nextStart(await booted(signal), signal)
    },
    async revert({ release, signal }) {
      const running = await booted(signal)
      const runs = sameBuild(await buildIn(held, running), release)
      await nextStart(runs ? await other(signal) : running, signal)
    },
    async tidy(keep) {
      await keepOnly(
        images,
        keep.map((build) => `${buildName(build)}.swu`),
      )
    },
  }
}

function requireSetUp(site: SwupdateSite | undefined): SwupdateSite {
  const names = Object.keys(site?.slots ?? {})
  if (site === undefined || names.length !== 2 || !names.every((name) => SLOT.test(name))) {
    const text = 'SWUpdate is not set up on this device with two slots'
    throw new InstallError('INSTALL_ARGUMENTS', text)
  }
  if (site.slot.length === 0) {
    const text = 'no program is set on this device that knows which slot runs'
    throw new InstallError('INSTALL_ARGUMENTS', text)
  }
  return site
}

/**
 * SWUpdate 2022.12 often ends with 1 after all went well, when its end and its progress thread meet.
 * What it says decides: it says so after the last image was written.
 */
function requireSuccess(error: unknown): void {
  const said =
    error instanceof InstallError && error.cause instanceof Error ? error.cause.message : ''
  if (!said.includes('SWUPDATE successful !') || said.includes('[ERROR]')) throw error
}

async function buildIn(folder: string, slot: string): Promise<Build | undefined> {
  const text = await readFile(join(folder, slot), 'utf8').catch(() => '')
  return buildOf(text.trim())
}
