/** Releases, and a device that installs them, for tests. */
import { createHash } from 'node:crypto'
import { lstatSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { systemClock } from '../../node/env.ts'
import {
  createInstaller,
  createInstalls,
  type Installs,
  type InstallsDeps,
  type Release,
} from '../../node/services/install/index.ts'
import { tarOf, type TarEntry } from './tars.ts'

export const NEVER = new AbortController().signal

export function releaseOf(version: string, build: number, more: Partial<Release> = {}): Release {
  const name = more.name ?? 'app'
  const id = createHash('sha256').update(`${name} ${version} ${build}`).digest('hex')
  return { id, name, version, build, installer: 'tree', args: {}, ...more }
}

/** Files of a version: enough to have folders, links and something that spans blocks. */
export function filesOf(version: string): TarEntry[] {
  return [
    { name: 'bin', type: '5' },
    { name: 'bin/app', content: `#!/bin/sh\necho ${version}\n`, mode: 0o755 },
    { name: 'lib/data/table', content: version.repeat(3_000) },
    { name: 'lib/latest', type: '2', link: 'data/table' },
    { name: 'VERSION', content: version },
  ]
}

export function writeTree(file: string, version: string): string {
  writeFileSync(file, tarOf(filesOf(version)))
  return file
}

export function installsIn(dir: string, more: Partial<InstallsDeps> = {}): Installs {
  return createInstalls({
    dir,
    clock: systemClock,
    reading: () => undefined,
    site: () => ({}),
    installer: createInstaller,
    ...more,
  })
}

/** All below a folder: its files with their content, links with their target, folders. */
export function listing(folder: string, below = ''): Record<string, string> {
  const all: Record<string, string> = {}
  for (const name of readdirSync(join(folder, below)).toSorted()) {
    const path = below === '' ? name : `${below}/${name}`
    const found = lstatSync(join(folder, path))
    if (found.isDirectory()) Object.assign(all, { [`${path}/`]: '' }, listing(folder, path))
    else if (found.isSymbolicLink()) all[path] = `-> ${readlinkSync(join(folder, path))}`
    else all[path] = readFileSync(join(folder, path), 'latin1')
  }
  return all
}

/** What `listing` says of a version that was unpacked whole. */
export function listingOf(version: string): Record<string, string> {
  return {
    VERSION: version,
    'bin/': '',
    'bin/app': `#!/bin/sh\necho ${version}\n`,
    'lib/': '',
    'lib/data/': '',
    'lib/data/table': version.repeat(3_000),
    'lib/latest': '-> data/table',
  }
}
