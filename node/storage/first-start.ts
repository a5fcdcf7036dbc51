/**
 * The beginning and the end of a device's folder. Key and database are made one after the other, and
 * go one after the other in a factory reset; a marker stands in the folder meanwhile, so that what
 * was interrupted is told from what was lost. A key without a database and without the marker means
 * loss: going on would make a device that other devices know, but that remembers nothing, and whose
 * log they would take for a forgery.
 */
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'

import { NodeError } from '../errors.ts'
import { createFileAtomic, syncFolder } from './files.ts'

const MARKER = 'first-start'

export interface DeviceFiles {
  readonly key: string
  readonly database: string
}

export interface FirstStart {
  /** Key and database are there: from now on both must stay. */
  done(): Promise<void>
}

/** `key` and `database` are names of files in `dataDir`. @throws NodeError NODE_DATABASE */
export async function beginStart(
  dataDir: string,
  { key, database }: DeviceFiles,
): Promise<FirstStart> {
  const marker = join(dataDir, MARKER)
  const has = (name: string): boolean => existsSync(join(dataDir, name))
  if (has(key) && !has(database) && !has(MARKER)) {
    throw new NodeError(
      'NODE_DATABASE',
      `The database ${join(dataDir, database)} is missing, though this device has a key.`,
      {
        hint: 'Nothing was changed. Put the file back. If it is lost, so are this device’s place and readings: remove the device on an owner’s device, move the folder away and pair again.',
      },
    )
  }
  if (!has(key) && has(MARKER)) await removeDatabase(dataDir, database)
  if (!has(key) && !has(database) && !has(MARKER)) {
    await createFileAtomic(marker, new Uint8Array())
  }
  return {
    async done() {
      if (!has(MARKER)) return
      await rm(marker, { force: true })
      await syncFolder(dataDir)
    },
  }
}

/**
 * Factory reset: the key goes first, so that a crash half-way leaves a device that is nobody, never
 * one that is still someone. The next start ends what was interrupted.
 */
export async function forgetDevice(dataDir: string, { key, database }: DeviceFiles): Promise<void> {
  const marker = join(dataDir, MARKER)
  if (!existsSync(marker)) await createFileAtomic(marker, new Uint8Array())
  await rm(join(dataDir, key), { force: true })
  await syncFolder(dataDir)
  await removeDatabase(dataDir, database)
}

async function removeDatabase(dataDir: string, database: string): Promise<void> {
  for (const suffix of ['', '-wal', '-shm']) {
    await rm(join(dataDir, `${database}${suffix}`), { force: true })
  }
  await syncFolder(dataDir)
}
