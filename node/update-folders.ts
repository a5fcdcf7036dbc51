/** Where a device keeps what belongs to updates: for the device, and for the program that publishes. */
import { join } from 'node:path'

import type { Paths } from './paths.ts'

export interface UpdateFolders {
  /** What is believed of channels, and reports. */
  readonly state: string
  /** Of each channel that this device signs for: its files, and releases that wait to be signed. */
  readonly repositories: string
  /** Keys for snapshot and timestamp. */
  readonly online: string
  /** Keys for root and targets, until they are moved to a stick. */
  readonly keys: string
  /** Chunks by hash. */
  readonly chunks: string
  /** Releases that are being put together. */
  readonly work: string
  /** What is installed, by name. */
  readonly installed: string
  /** Nothing is installed while this file is there. */
  readonly busy: string
}

export function updateFolders(
  { dataDir, cacheDir }: Pick<Paths, 'dataDir' | 'cacheDir'>,
  installed = '',
): UpdateFolders {
  const state = join(dataDir, 'update')
  return {
    state,
    repositories: join(state, 'repositories'),
    online: join(state, 'online-keys'),
    keys: join(dataDir, 'update-keys'),
    chunks: join(cacheDir, 'chunks'),
    work: join(cacheDir, 'releases'),
    installed: installed === '' ? join(dataDir, 'installed') : installed,
    busy: join(dataDir, 'do-not-disturb'),
  }
}
