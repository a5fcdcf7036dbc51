/** What an installer is, and what it is told. */
import type { Health, InstallerName } from '../../../protocols/update/index.ts'

export interface Build {
  readonly version: string
  readonly build: number
}

/** A release as the journal keeps it: all that is needed to go on after a restart. */
export interface Release extends Build {
  /** Index of the release: SHA-256, hexadecimal. */
  readonly id: string
  readonly name: string
  readonly installer: InstallerName
  readonly args: Readonly<Record<string, string>>
  readonly health?: Health | undefined
}

export interface InstallContext {
  readonly release: Release
  /** What ran before, and what to go back to. */
  readonly previous: Release | undefined
  readonly signal: AbortSignal
}

export interface StageContext extends InstallContext {
  /** The release as one verified file: the archive of a tree, or the file itself. */
  readonly file: string
}

/**
 * One way to install. Every step may be told again after it was cut short, and then ends as if it
 * ran once. No step uses the network.
 */
export interface Installer {
  readonly name: InstallerName
  /** Lay the release beside what runs. On an error nothing of it is left. */
  stage(context: StageContext): Promise<void>
  /** Make it the version that runs, and start it. */
  switch(context: InstallContext): Promise<void>
  /** Start the machine anew, where that is what makes the version run. */
  reboot?(signal: AbortSignal): Promise<void>
  /** What would run, or does, now; undefined where nothing, or nothing whole, is installed. */
  current(signal: AbortSignal): Promise<Build | undefined>
  /** The version is well: it stays. */
  confirm(context: InstallContext): Promise<void>
  /** Make `previous` the version that runs, and start it. */
  revert(context: InstallContext): Promise<void>
  /** Remove all but `keep`: what was staged in part, versions that are not needed. */
  tidy(keep: readonly Build[], signal: AbortSignal): Promise<void>
}

export function sameBuild(a: Build | undefined, b: Build | undefined): boolean {
  return a?.version === b?.version && a?.build === b?.build
}

/** Name of a file or folder of one version. Both parts are of a form that no path can hide in. */
export function buildName({ version, build }: Build): string {
  return `${version}-${build}`
}

/** The build that `buildName` names; undefined for any other text. */
export function buildOf(text: string): Build | undefined {
  const [, version, build] = /^([A-Za-z0-9][A-Za-z0-9.+~_-]*)-(\d{1,10})$/.exec(text) ?? []
  return version === undefined ? undefined : { version, build: Number(build) }
}
