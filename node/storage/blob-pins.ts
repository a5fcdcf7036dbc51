/** Which blobs are kept for which release: in memory, and one file per release. */
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'

import { writeFileAtomic } from './files.ts'

const HASH_BYTES = 32
const NAME = /^[0-9a-f]{64}$/

export interface BlobPins {
  /** How many releases keep it. */
  isPinned(hex: string): boolean
  releases(): readonly string[]
  /** Replaces what that release kept. Resolves when a power cut does not undo it. */
  set(release: string, hexes: readonly string[]): Promise<void>
  remove(release: string): Promise<void>
  /** Read the files again. */
  load(): Promise<void>
}

/** @throws what reading the folder throws */
export async function openPins(folder: string): Promise<BlobPins> {
  const lists = new Map<string, readonly string[]>()
  const counts = new Map<string, number>()

  function count(hexes: readonly string[], by: 1 | -1): void {
    for (const hex of hexes) {
      const next = (counts.get(hex) ?? 0) + by
      if (next === 0) counts.delete(hex)
      else counts.set(hex, next)
    }
  }

  function replace(release: string, hexes: readonly string[] | undefined): void {
    count(lists.get(release) ?? [], -1)
    lists.delete(release)
    if (hexes === undefined) return
    count(hexes, 1)
    lists.set(release, hexes)
  }

  const pins: BlobPins = {
    isPinned: (hex) => counts.has(hex),
    releases: () => [...lists.keys()],
    async set(release, hexes) {
      const once = [...new Set(hexes)]
      await writeFileAtomic(join(folder, release), Buffer.from(once.join(''), 'hex'))
      replace(release, once)
    },
    async remove(release) {
      await rm(join(folder, release), { force: true })
      replace(release, undefined)
    },
    async load() {
      const names = (await readdir(folder)).filter((name) => NAME.test(name))
      for (const release of lists.keys()) if (!names.includes(release)) replace(release, undefined)
      for (const name of names) replace(name, hexesIn(await readFile(join(folder, name))))
    },
  }
  await pins.load()
  return pins
}

function hexesIn(bytes: Buffer): string[] {
  const all: string[] = []
  for (let at = 0; at + HASH_BYTES <= bytes.length; at += HASH_BYTES) {
    all.push(bytes.toString('hex', at, at + HASH_BYTES))
  }
  return [...new Set(all)]
}
