/**
 * Debian packages, by dpkg. The packages of both versions are kept, so that the way back needs no
 * network. dpkg itself unpacks; an interrupted one is finished or undone at the next start.
 *
 * A package that was there before Kith installed one, and of which no file is kept, is only replaced
 * where the release says `no-way-back=yes`.
 */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'

import { keepFile, makeFolder, namesIn, keepOnly, requireSpace } from './disk.ts'
import { createDpkg, type Dpkg } from './dpkg.ts'
import { InstallError } from './errors.ts'
import { restart } from './restart.ts'
import { restartOf } from './run.ts'
import type { Site } from './site.ts'
import { buildName, buildOf, type Build, type Installer } from './types.ts'

const END = '.deb'

export function debInstaller(site: Site): Installer {
  const { root, clock } = site
  const dpkg = createDpkg(clock, site.dpkg ?? [])
  const folder = join(root, 'packages')
  const fileOf = (build: Build): string => join(folder, `${buildName(build)}${END}`)

  async function install(build: Build, signal: AbortSignal): Promise<void> {
    const file = fileOf(build)
    if (!(await isThere(file))) {
      const text = `the package of version ${build.version} is not there any more`
      throw new InstallError('INSTALL_NO_WAY_BACK', text)
    }
    await dpkg.install(file, signal)
  }

  return {
    name: 'deb',
    async stage({ release, previous, file, signal }) {
      restartOf(release.args, site.restart)
      const fields = await dpkg.fieldsOf(file, signal)
      await requireHere(dpkg, fields.architecture, signal)
      const way = previous !== undefined && (await isThere(fileOf(previous)))
      if (!way && release.args['no-way-back'] !== 'yes') {
        await requireNew(dpkg, fields.package, signal)
      }
      await makeFolder(folder, 0o700)
      // Once as it is kept, once as it is unpacked.
      await requireSpace(folder, 2 * (await stat(file)).size)
      await keepFile(file, folder, `${buildName(release)}${END}`)
    },
    async switch(context) {
      await install(context.release, context.signal)
      await restart(site, context)
    },
    async current(signal) {
      for (const build of await buildsIn(folder)) {
        const fields = await dpkg.fieldsOf(fileOf(build), signal)
        const there = await dpkg.statusOf(fields.package, signal)
        if (there?.status === 'installed' && there.version === fields.version) return build
      }
      return undefined
    },
    async confirm() {
      // dpkg has it all.
    },
    async revert(context) {
      const { release, previous, signal } = context
      if (previous === undefined) {
        const { package: name } = await dpkg.fieldsOf(fileOf(release), signal)
        if ((await dpkg.statusOf(name, signal)) !== undefined) await dpkg.remove(name, signal)
        return
      }
      await install(previous, signal)
      await restart(site, context)
    },
    async tidy(keep) {
      await keepOnly(
        folder,
        keep.map((build) => `${buildName(build)}${END}`),
      )
    },
  }
}

/** The newest build first, where two have one version of the package. */
async function buildsIn(folder: string): Promise<Build[]> {
  const names = (await namesIn(folder)).filter((name) => name.endsWith(END))
  const builds = names.map((name) => buildOf(name.slice(0, -END.length)))
  return builds.filter((one) => one !== undefined).toSorted((a, b) => b.build - a.build)
}

async function requireNew(dpkg: Dpkg, name: string, signal: AbortSignal): Promise<void> {
  const there = await dpkg.statusOf(name, signal)
  if (there === undefined) return
  throw new InstallError(
    'INSTALL_NO_WAY_BACK',
    `${name} ${there.version} was not installed by Kith, so nothing leads back to it: publish that version first, or say no-way-back=yes`,
  )
}

async function isThere(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined
}

async function requireHere(dpkg: Dpkg, wanted: string, signal: AbortSignal): Promise<void> {
  const here = await dpkg.architecture(signal)
  if (wanted === 'all' || wanted === here) return
  const text = `the package is for ${wanted}, and this device is ${here}`
  throw new InstallError('INSTALL_ARGUMENTS', text)
}
