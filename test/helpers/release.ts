import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { systemClock } from '../../node/env.ts'
import type { About } from '../../node/release/index.ts'
import { openBlobs, type BlobStore } from '../../node/storage/blobs.ts'
import { seededRandom } from './random.ts'

export const never = new AbortController().signal

export function aboutRelease(build: number, changes: Partial<About> = {}): About {
  return {
    name: 'thing',
    version: `1.${build}`,
    build,
    for: { hardware: [], arch: [], groups: [], requires: [] },
    installer: 'exec',
    args: {},
    ...changes,
  }
}

export interface ReleaseRoom extends AsyncDisposable {
  readonly root: string
  readonly blobs: BlobStore
  at(name: string): string
  write(name: string, bytes: Uint8Array | string, mode?: number): Promise<string>
  /** Another store, empty. */
  emptyStore(): Promise<BlobStore>
}

export async function releaseRoom(): Promise<ReleaseRoom> {
  const root = await mkdtemp(path.join(tmpdir(), 'kith-release-'))
  const stores: BlobStore[] = []
  const emptyStore = async (): Promise<BlobStore> => {
    const folder = path.join(root, `store-${stores.length}`)
    const store = await openBlobs({ folder, maxBytes: 1e9, clock: systemClock })
    stores.push(store)
    return store
  }
  const at = (name: string): string => path.join(root, name)
  return {
    root,
    blobs: await emptyStore(),
    at,
    async write(name, bytes, mode = 0o644) {
      await mkdir(path.dirname(at(name)), { recursive: true })
      await writeFile(at(name), bytes, { mode })
      return at(name)
    },
    emptyStore,
    async [Symbol.asyncDispose]() {
      for (const store of stores) await store[Symbol.asyncDispose]()
      await rm(root, { recursive: true, force: true })
    },
  }
}

/** Bytes that do not pack, and the same with a few of them changed in every `every` bytes. */
export function noise(seed: string, length: number): Uint8Array {
  return seededRandom(seed).bytes(length)
}

export function sprinkled(bytes: Uint8Array, every: number): Uint8Array {
  const changed = bytes.slice()
  for (let at = every >> 1; at < changed.length; at += every)
    changed[at] = (changed[at] ?? 0) ^ 0xff
  return changed
}
