/**
 * Whole systems in two slots, by RAUC: its bundles, its signatures and its boot loader. RAUC writes
 * the slot that does not run; the next start of the machine runs it. What a bundle calls its version
 * must be the release's.
 */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'

import { writeFileAtomic } from '../../storage/files.ts'
import { keepFile, makeFolder, namesIn, keepOnly, requireSpace } from './disk.ts'
import { InstallError } from './errors.ts'
import { runProgram } from './run.ts'
import type { Site } from './site.ts'
import { buildName, buildOf, sameBuild, type Build, type Installer } from './types.ts'

const INSTALL_MS = 3_600_000
const SHORT_MS = 60_000

interface Slot {
  readonly state?: string
  readonly slot_status?: { readonly bundle?: { readonly version?: string } }
}

interface Info {
  readonly compatible?: string
  readonly version?: string
}

interface Status {
  readonly compatible: string
  readonly slots: readonly Readonly<Record<string, Slot>>[]
}

export function raucInstaller({ root, clock, rauc }: Site): Installer {
  if (rauc === undefined)
    throw new InstallError('INSTALL_ARGUMENTS', 'RAUC is not set up on this device')
  const bundles = join(root, 'bundles')
  /** An empty file for each build that was put into a slot. */
  const known = join(root, 'known')
  const fileOf = (build: Build): string => join(bundles, `${buildName(build)}.raucb`)
  const run = (
    args: readonly string[],
    signal: AbortSignal,
    timeoutMs = SHORT_MS,
  ): Promise<string> => runProgram({ argv: [...rauc.argv, ...args], clock, timeoutMs, signal })

  async function status(signal: AbortSignal): Promise<Status> {
    return JSON.parse(await run(['status', '--detailed', '--output-format=json'], signal)) as Status
  }

  async function current(signal: AbortSignal): Promise<Build | undefined> {
    const { slots } = await status(signal)
    const booted = slots
      .flatMap((one) => Object.values(one))
      .find(({ state }) => state === 'booted')
    const version = booted?.slot_status?.bundle?.version
    const builds = (await namesIn(known)).map(buildOf).filter((one) => one !== undefined)
    // One version in two builds: the later one was installed over the earlier.
    return builds.toSorted((a, b) => b.build - a.build).find((one) => one.version === version)
  }

  return {
    name: 'rauc',
    async stage({ release, file, signal }) {
      await makeFolder(bundles, 0o700)
      await makeFolder(known, 0o700)
      await requireSpace(bundles, (await stat(file)).size)
      const kept = await keepFile(file, bundles, `${buildName(release)}.raucb`)
      // Checks the signature too.
      const info = JSON.parse(await run(['info', '--output-format=json', kept], signal)) as Info
      requireFit(info, release, (await status(signal)).compatible)
    },
    async switch({ release, signal }) {
      await writeFileAtomic(join(known, buildName(release)), new Uint8Array())
      await run(['install', fileOf(release)], signal, INSTALL_MS)
    },
    reboot: async (signal) =>
      void (await runProgram({ argv: rauc.reboot, clock, timeoutMs: SHORT_MS, signal })),
    current,
    async confirm({ signal }) {
      await run(['status', 'mark-good', 'booted'], signal)
    },
    async revert({ release, signal }) {
      const runs = sameBuild(await current(signal), release)
      // Bad is the slot of the ill version, whichever of the two runs.
      await run(['status', 'mark-bad', runs ? 'booted' : 'other'], signal)
      await run(['status', 'mark-active', runs ? 'other' : 'booted'], signal)
    },
    async tidy(keep) {
      const names = keep.map(buildName)
      await keepOnly(known, names)
      await keepOnly(
        bundles,
        names.map((name) => `${name}.raucb`),
      )
    },
  }
}

function requireFit({ compatible, version }: Info, release: Build, here: string): void {
  if (version !== release.version) {
    const text = `the bundle calls itself version ${version}, and the release ${release.version}`
    throw new InstallError('INSTALL_ARGUMENTS', text)
  }
  if (compatible === here) return
  const text = `the bundle is for ${compatible}, and this device is ${here}`
  throw new InstallError('INSTALL_ARGUMENTS', text)
}
