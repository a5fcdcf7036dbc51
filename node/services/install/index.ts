/** Installs verified releases on this device, and goes back from those that are ill. */
export { checkArchive, unpackArchive } from './archive.ts'
export { InstallError } from './errors.ts'

export { createInstaller } from './installers.ts'
export { createInstalls, type Installs, type InstallsDeps } from './installs.ts'
export type { Outcome } from './job.ts'

export type { Site } from './site.ts'
export type { Release } from './types.ts'
