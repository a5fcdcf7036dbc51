/**
 * A folder for each version, and the link `current` to the one that runs. The link is replaced in
 * one step, so that at any moment, and after any power cut, it leads to the whole old version or to
 * the whole new one.
 *
 *   <root>/current -> versions/<version>-<build>
 *   <root>/versions/<version>-<build>/…
 *   <root>/staging/…     while a release is unpacked
 */
import { readlink, rename, rm, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'

import { syncFolder } from '../../storage/files.ts'
import { checkArchive, unpackArchive } from './archive.ts'
import { makeFolder, keepOnly, removeSafely, replaceLink, requireSpace } from './disk.ts'
import { InstallError } from './errors.ts'
import { restart } from './restart.ts'
import { restartOf } from './run.ts'
import type { Site } from './site.ts'
import { buildName, buildOf, type Build, type Installer } from './types.ts'

export function treeInstaller(site: Site): Installer {
  const { root } = site
  const versions = join(root, 'versions')
  const staging = join(root, 'staging')
  const link = join(root, 'current')
  const folderOf = (build: Build): string => join(versions, buildName(build))

  async function requireVersion(build: Build): Promise<void> {
    const found = await stat(folderOf(build)).catch(() => undefined)
    if (found?.isDirectory() === true) return
    throw new InstallError('INSTALL_NO_WAY_BACK', `version ${build.version} is not there any more`)
  }

  async function pointTo(build: Build | undefined): Promise<void> {
    if (build === undefined) return removeSafely(link)
    await requireVersion(build)
    await replaceLink(link, join('versions', buildName(build)))
  }

  return {
    name: 'tree',
    async stage({ release, file }) {
      restartOf(release.args, site.restart)
      const { bytes, entries } = await checkArchive(file)
      await makeFolder(versions, 0o755)
      await removeSafely(staging)
      await requireSpace(root, bytes, entries)
      try {
        await unpackArchive(file, staging)
        await removeSafely(folderOf(release))
        await rename(staging, folderOf(release))
        await syncFolder(versions)
        await syncFolder(root)
      } catch (error) {
        await rm(staging, { recursive: true, force: true })
        throw error
      }
    },
    async switch(context) {
      await pointTo(context.release)
      await restart(site, context)
    },
    async current() {
      const target = await readlink(link).catch(() => undefined)
      const build = target === undefined ? undefined : buildOf(basename(target))
      if (build === undefined || target !== join('versions', buildName(build))) return undefined
      const found = await stat(folderOf(build)).catch(() => undefined)
      return found?.isDirectory() === true ? build : undefined
    },
    async confirm() {
      // The link was safe before it ran.
    },
    async revert(context) {
      await pointTo(context.previous)
      // The new version may be what cannot restart; the way back does not end here.
      await restart(site, context)
    },
    async tidy(keep) {
      await removeSafely(staging)
      await removeSafely(`${link}.new`)
      await keepOnly(versions, keep.map(buildName))
    },
  }
}
