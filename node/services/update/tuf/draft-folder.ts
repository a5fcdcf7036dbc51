/**
 * What waits for signatures, in a folder that may travel on a stick: `targets.json`; with a change of
 * keys `root.json`; indexes of new releases; and `in-force.root.json`, which says whose signatures
 * count. Nothing else in the folder is looked at.
 */
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

import { BOUNDS } from '../../../../protocols/update/index.ts'
import { writeFileAtomic } from '../../../storage/files.ts'
import { nextRoot, nextTargets, signaturesOf, type RootChange } from './drafts.ts'
import { TufError } from './errors.ts'
import { readInside } from './folder.ts'
import { sha256Hex, TUF_LIMITS } from './metadata.ts'
import { signMetadata, type SignOptions, type SignResult } from './offline.ts'

const ROOT = 'root.json'
const TARGETS = 'targets.json'
const IN_FORCE = 'in-force.root.json'
const MAX_INDEXES = 16

export interface Draft {
  readonly targets: Uint8Array
  readonly root?: Uint8Array
  readonly inForce?: Uint8Array
  readonly indexes: readonly Uint8Array[]
}

/**
 * The next root and the list of releases, to be signed by the keys that it names: both are taken at
 * once, so that what was published is never without good signatures. Without a change: the same keys,
 * for longer.
 *
 * @throws TufError TUF_CHANNEL
 */
export function rotation(
  now: { readonly root: Uint8Array; readonly targets: Uint8Array },
  change: RootChange,
): Draft & { readonly root: Uint8Array } {
  return {
    root: nextRoot(now.root, change),
    targets: nextTargets(now.targets, { nowMs: change.nowMs }),
    inForce: now.root,
    indexes: [],
  }
}

/** In place of an earlier draft in the folder. */
export async function writeDraft(folder: string, draft: Draft): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  for (const name of [ROOT, TARGETS, ...(await indexNames(folder))]) {
    await rm(join(folder, name), { force: true })
  }
  const { root, targets, inForce, indexes } = draft
  for (const bytes of indexes) {
    await writeFileAtomic(join(folder, `${sha256Hex(bytes)}.index`), bytes, 0o644)
  }
  if (inForce !== undefined) await writeFileAtomic(join(folder, IN_FORCE), inForce, 0o644)
  if (root !== undefined) await writeFileAtomic(join(folder, ROOT), root, 0o644)
  await writeFileAtomic(join(folder, TARGETS), targets, 0o644)
}

/** @throws TufError TUF_FOLDER where there is none */
export async function readDraft(folder: string): Promise<Draft> {
  const targets = await readInside(folder, [TARGETS], TUF_LIMITS.targets)
  if (targets === undefined) throw new TufError('TUF_FOLDER', folder, 'nothing in it waits')
  const root = await readInside(folder, [ROOT], TUF_LIMITS.root)
  const inForce = await readInside(folder, [IN_FORCE], TUF_LIMITS.root)
  const indexes: Uint8Array[] = []
  for (const name of await indexNames(folder)) {
    const bytes = await readInside(folder, [name], BOUNDS.maxIndexBytes)
    if (bytes !== undefined) indexes.push(bytes)
  }
  return { targets, indexes, ...(root && { root }), ...(inForce && { inForce }) }
}

async function indexNames(folder: string): Promise<readonly string[]> {
  const names = await readdir(folder)
  return names.filter((name) => /^[0-9a-z.]{1,80}\.index$/.test(name)).slice(0, MAX_INDEXES)
}

/**
 * Sign what fits of it: a root by keys of the one before and its own, the list by those of the root
 * that it comes with. Keys of one role may lie in another drawer.
 *
 * @throws TufError TUF_WRONG_KEY where no key fits anything; as `signMetadata`
 */
export async function signDraftFolder(
  folder: string,
  options: Omit<SignOptions, 'file'>,
): Promise<readonly SignResult[]> {
  const { root, inForce = options.root } = await readDraft(folder)
  const done: SignResult[] = []
  let why: TufError | undefined
  for (const [name, rules] of [
    ...(root === undefined ? [] : [[ROOT, inForce] as const]),
    [TARGETS, root ?? inForce] as const,
  ]) {
    const { root: _, ...rest } = options
    try {
      const file = join(folder, name)
      done.push(await signMetadata({ ...rest, file, ...(rules && { root: rules }) }))
    } catch (error) {
      if (!(error instanceof TufError) || error.code !== 'TUF_WRONG_KEY') throw error
      why = error
    }
  }
  if (done.length === 0 && why !== undefined) throw why
  return done
}

/** How many signatures are still missing. @throws TufError */
export async function missingIn(folder: string): Promise<number> {
  const { root, inForce, targets } = await readDraft(folder)
  const missing = (file: Uint8Array, rules: Uint8Array | undefined): number => {
    if (rules === undefined) return 0
    const { need, have } = signaturesOf(file, rules)
    return Math.max(0, need - have.length)
  }
  const ofRoot = root === undefined ? 0 : Math.max(missing(root, root), missing(root, inForce))
  return ofRoot + missing(targets, root ?? inForce)
}
