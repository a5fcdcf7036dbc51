/** What goes into a backup beside the database: the settings file, and what is believed of channels. */
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'

import { NodeError } from '../errors.ts'
import { KINDS, type Frame } from './backup-format.ts'

/** As `kith update` keeps it, in a folder for each channel. */
export const TRUST_FILE = 'trust'
const MAX_SETTINGS_BYTES = 1024 * 1024
const MAX_TRUST_BYTES = 32 * 1024 * 1024

/** Files that are not there are left out. @throws NodeError NODE_CONFLICT for one that is too large */
export async function fileFrames(settings: string, channels: string): Promise<readonly Frame[]> {
  const frames: Frame[] = []
  const text = await readOptional(settings, MAX_SETTINGS_BYTES)
  if (text !== undefined) frames.push({ kind: KINDS.settings, content: text })
  for (const name of await namesIn(channels)) {
    const trust = await readOptional(join(channels, name, TRUST_FILE), MAX_TRUST_BYTES)
    if (trust === undefined) continue
    const label = Buffer.from(name, 'latin1')
    const content = new Uint8Array(Buffer.concat([Buffer.from([label.length]), label, trust]))
    frames.push({ kind: KINDS.trust, content })
  }
  return frames
}

async function namesIn(folder: string): Promise<readonly string[]> {
  const names = await readdir(folder).catch(ifAbsent)
  return (names ?? []).toSorted()
}

async function readOptional(path: string, maxBytes: number): Promise<Uint8Array | undefined> {
  const found = await stat(path).catch(ifAbsent)
  if (found === undefined) return undefined
  if (found.size > maxBytes) {
    throw new NodeError('NODE_CONFLICT', `The file ${path} is too large for a backup.`)
  }
  return readFile(path).catch(ifAbsent)
}

function ifAbsent(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined
  throw error
}
