/** The installer that a release names. */
import { treeInstaller } from './tree.ts'
import { debInstaller } from './deb.ts'
import { InstallError } from './errors.ts'
import { execInstaller } from './exec.ts'
import { ociInstaller } from './oci.ts'
import { raucInstaller } from './rauc.ts'
import { swupdateInstaller } from './swupdate.ts'
import { ownInstaller, type Own } from './own.ts'
import type { Site } from './site.ts'
import type { Installer, Release } from './types.ts'

/**
 * `own`: for releases of the program that installs.
 *
 * @throws InstallError INSTALL_ARGUMENTS where this device is not set up for it
 */
export function createInstaller(
  { installer }: Pick<Release, 'installer'>,
  site: Site,
  own?: Own,
): Installer {
  if (own !== undefined) {
    if (installer === 'tree') return ownInstaller(treeInstaller, site, own)
    const text = 'the program that is started by a launcher is installed as a tree'
    throw new InstallError('INSTALL_ARGUMENTS', text)
  }
  switch (installer) {
    case 'tree':
      return treeInstaller(site)
    case 'deb':
      return debInstaller(site)
    case 'exec':
      return execInstaller(site)
    case 'oci':
      return ociInstaller(site)
    case 'rauc':
      return raucInstaller(site)
    case 'swupdate':
      return swupdateInstaller(site)
  }
}
