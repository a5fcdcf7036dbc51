/**
 * The device's identity on disk: a 32-byte Ed25519 seed in `identity.key`, mode 0600. Made once, at
 * the first start in an empty folder. A missing, damaged or exposed key is refused with the way to
 * mend it; it never turns into a new identity, because the home would not know that device.
 *
 * File: 8 bytes `KITHKEY1`, 32 bytes seed, 32 bytes SHA-256 of both.
 */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'

import { SEED_BYTES, sha256 } from '../../protocols/identity/index.ts'
import { concatBytes, equalBytes } from '../../protocols/wire/index.ts'
import type { Random } from '../env.ts'
import { NodeError } from '../errors.ts'
import { Secret } from '../log.ts'
import { createFileAtomic, ensurePrivateFolder, readPrivateFile } from './files.ts'

export const KEY_FILE = 'identity.key'

const MAGIC = new TextEncoder().encode('KITHKEY1')
const FILE_BYTES = MAGIC.length + SEED_BYTES + 32

/** What a device that once ran leaves behind: databases, and a key under another name. */
const TRACES = /\.(?:db|sqlite3?)(?:-[a-z]+)?$|^identity\.key./

export interface DeviceSeed {
  readonly seed: Secret<Uint8Array>
  /** True at the first start. */
  readonly created: boolean
}

/** Read the key, or make it in a folder without a past. @throws NodeError NODE_KEY_FILE, NODE_DENIED */
export async function loadOrCreateSeed(dataDir: string, random: Random): Promise<DeviceSeed> {
  await ensurePrivateFolder(dataDir)
  const path = join(dataDir, KEY_FILE)
  const file = await readPrivateFile(path, FILE_BYTES)
  if (file.state === 'refused') throw refuse(path, file.why, file.hint)
  if (file.state === 'ok') return { seed: new Secret(decode(path, file.bytes)), created: false }
  const trace = (await readdir(dataDir)).find((name) => TRACES.test(name))
  if (trace !== undefined) {
    throw refuse(
      path,
      `is missing, though ${trace} shows that this device had one`,
      'Put the key file back. If it is lost, this identity is lost: remove the device on an owner’s device, move the folder away and pair again.',
    )
  }
  const seed = random.bytes(SEED_BYTES)
  await createFileAtomic(path, concatBytes(MAGIC, seed, sha256(MAGIC, seed)))
  return { seed: new Secret(seed), created: true }
}

function decode(path: string, bytes: Uint8Array): Uint8Array {
  const seed = bytes.slice(MAGIC.length, MAGIC.length + SEED_BYTES)
  const intact =
    bytes.length === FILE_BYTES &&
    equalBytes(bytes.subarray(0, MAGIC.length), MAGIC) &&
    equalBytes(bytes.subarray(MAGIC.length + SEED_BYTES), sha256(MAGIC, seed))
  if (intact) return seed
  throw refuse(
    path,
    'is damaged',
    'Check the disk and put the file back from a copy. If it is lost, this identity is lost: remove the device on an owner’s device, move the folder away and pair again.',
  )
}

function refuse(path: string, why: string, hint: string): NodeError {
  return new NodeError('NODE_KEY_FILE', `The key file ${path} ${why}.`, {
    hint: `Nothing was changed. ${hint}`,
  })
}
