/** The door for programs that make a release without a running device: `kith update publish`. */
import { systemClock } from './env.ts'
import { makeRelease, type MadeRelease, type MakeOptions } from './release/index.ts'
import { openBlobs } from './storage/blobs.ts'

export { ReleaseError } from './release/index.ts'
export type {
  About,
  MadeRelease,
  MakeProgress,
  MakeSummary,
  PatchSummary,
} from './release/index.ts'

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
