/** The door for programs that make a release without a running device: `kith update publish`. */
import { BOUNDS, openIndex, type OpenedIndex } from '../protocols/update/index.ts'
import { systemClock } from './env.ts'
import { assemble, makeRelease, type MadeRelease, type MakeOptions } from './release/index.ts'
import {
  folderSource,
  indexFile,
  inspectMetadata,
  parseTargetPath,
  readRepository,
  type RepositoryFiles,
  type Role,
} from './services/update/tuf/index.ts'
import { openBlobs } from './storage/blobs.ts'

export type { MadeRelease, MakeProgress, MakeSummary } from './release/index.ts'

export interface PublishOptions extends Omit<MakeOptions, 'blobs'> {
  /** Where its chunks go: the folder of a device's store, which may be running, or a new one. */
  readonly folder: string
  readonly maxBytes: number
}

/** As `makeRelease`, with the store in `folder`. */
export async function publishInto(
  { folder, maxBytes, ...options }: PublishOptions,
  signal: AbortSignal,
): Promise<MadeRelease> {
  await using blobs = await openBlobs({ folder, maxBytes, clock: systemClock })
  return await makeRelease({ ...options, blobs }, signal)
}

export {
  folderSource,
  httpSource,
  initChannel,
  inspect,
  listKeyFiles,
  missingIn,
  newUpdateKey,
  nextTargets,
  readDraft,
  readMark,
  readPublicKey,
  refreshOnce,
  rotation,
  signDraftFolder,
  signMetadata,
  trustRoot,
  writeDraft,
  writeKeyFile,
  writePublicKey,
} from './services/update/tuf/index.ts'
export type {
  ChannelView,
  Draft,
  Inspected,
  RepositoryFiles,
  Role,
} from './services/update/tuf/index.ts'

/** The files of a channel that this machine's device keeps, and the indexes that it lists. */
export interface KeptChannel extends RepositoryFiles {
  /** Of one name, newest first. */
  builds(name: string): Promise<readonly OpenedIndex[]>
  /** The highest build that the name ever had, also of what was taken back; 0 where there was none. */
  lastBuild(name: string): number
  /** Of its root in force. */
  readonly keys: readonly { readonly role: Role; readonly id: string }[]
}

/** @throws TufError TUF_CHANNEL where there is no channel in the folder */
export async function readChannel(folder: string): Promise<KeptChannel> {
  const files = await readRepository(folder)
  const listed = inspectMetadata(files.targets)
  const source = folderSource(folder)
  const named = (name: string) =>
    (listed.releases ?? []).flatMap(({ path }) => {
      const release = parseTargetPath(path)
      return release?.name === name ? [release.build] : []
    })
  return {
    ...files,
    keys: inspectMetadata(files.root).keys ?? [],
    lastBuild: (name) => Math.max(0, ...named(name)),
    async builds(name) {
      const found: OpenedIndex[] = []
      for (const { path, sha256, withdrawn } of listed.releases ?? []) {
        const release = parseTargetPath(path)
        if (withdrawn || release?.name !== name) continue
        const file = indexFile({ ...release, sha256 })
        const bytes = await source('', file, BOUNDS.maxIndexBytes)
        if (bytes !== undefined) found.push(openIndex(bytes))
      }
      return found.toSorted((a, b) => b.index.build - a.index.build)
    },
  }
}

/** Make a release in `out` from the chunks in `folder`. @throws ReleaseError */
export async function putTogether(
  {
    folder,
    maxBytes,
    index,
  }: { readonly folder: string; readonly maxBytes: number; readonly index: Uint8Array },
  out: string,
  signal: AbortSignal,
): Promise<OpenedIndex> {
  const opened = openIndex(index)
  await using blobs = await openBlobs({ folder, maxBytes, clock: systemClock })
  await assemble(opened, { blobs, sources: [], memoryBytes: 0 }, out, signal)
  return opened
}
