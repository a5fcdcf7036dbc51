/** Releases made from files and folders, and put together again. */
export { assemble } from './assemble.ts'

export { ReleaseError } from './errors.ts'

export { makeRelease } from './make.ts'
export type { About, MadeRelease, MakeOptions, MakeProgress, MakeSummary } from './make.ts'
export { PATCH } from './patch.ts'
export { planFetch } from './plan.ts'

export { openFile } from './raw.ts'
export type { RawBytes } from './raw.ts'
export { releaseSource, scannedSource } from './sources.ts'
export type { Source } from './sources.ts'
export { openTree } from './tree.ts'
