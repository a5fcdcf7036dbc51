/** Installs releases by name, one step at a time for each. What a step does is in `job.ts`. */
import { join } from 'node:path'

import { makeFolder } from './disk.ts'
import { InstallError, withoutSpace } from './errors.ts'
import { Job, type JobDeps, type Outcome } from './job.ts'
import { readJournal, type Journal } from './journal.ts'
import type { Site } from './site.ts'
import type { Release } from './types.ts'

export interface InstallsDeps extends Omit<JobDeps, 'site' | 'root' | 'launched'> {
  /** Folder of all that is installed; one folder by name in it. */
  readonly dir: string
  readonly site: (name: string) => Omit<Site, 'root' | 'clock'>
  /** Names whose starts a launcher counts. */
  readonly launched?: ReadonlySet<string> | undefined
}

export interface Installs {
  /** What is installed, on trial and ill under this name. @throws InstallError INSTALL_JOURNAL */
  state(name: string): Promise<Journal>
  /** Lay a release beside what runs. `file`: verified, one file. @throws InstallError */
  stage(release: Release, file: string, signal: AbortSignal): Promise<void>
  /** Switch to what is staged, and judge it. @throws InstallError; nothing is changed then */
  switch(name: string, signal: AbortSignal): Promise<Outcome>
  /**
   * After every start, before anything else: finish or undo what was cut short, and judge what is on
   * trial. Undefined where nothing was under way.
   */
  resume(name: string, signal: AbortSignal): Promise<Outcome | undefined>
  /** Go back to the version before, by hand; the one that ran counts as ill. @throws InstallError */
  rollback(name: string, signal: AbortSignal): Promise<Outcome>
  /** Drop what is staged. */
  discard(name: string, signal: AbortSignal): Promise<void>
  /** Let a build be tried again. */
  forgive(name: string, id: string): Promise<void>
}

const NAME = /^[a-z0-9][a-z0-9._+-]{0,63}$/

export function createInstalls(deps: InstallsDeps): Installs {
  const { dir, clock, launched } = deps
  const busy = new Set<string>()

  async function alone<T>(name: string, run: (job: Job) => Promise<T>): Promise<T> {
    const root = folderOf(dir, name)
    if (busy.has(name)) throw new InstallError('INSTALL_BUSY')
    busy.add(name)
    try {
      await makeFolder(root, 0o755)
      const site = { ...deps.site(name), root, clock }
      const jobDeps = { ...deps, site, root, launched: launched?.has(name) === true }
      return await run(new Job(jobDeps, await readJournal(root)))
    } catch (error) {
      throw withoutSpace(error)
    } finally {
      busy.delete(name)
    }
  }

  return {
    state: async (name) => readJournal(folderOf(dir, name)),
    stage: (release, file, signal) =>
      alone(release.name, (job) => job.stage(release, file, signal)),
    switch: (name, signal) => alone(name, (job) => job.change(signal)),
    resume: (name, signal) => alone(name, (job) => job.resume(signal)),
    rollback: (name, signal) => alone(name, (job) => job.rollback(signal)),
    discard: (name, signal) => alone(name, (job) => job.discard(signal)),
    forgive: (name, id) => alone(name, (job) => job.forgive(id)),
  }
}

/** The name becomes a folder. @throws InstallError INSTALL_ARGUMENTS */
function folderOf(dir: string, name: string): string {
  if (!NAME.test(name)) {
    throw new InstallError('INSTALL_ARGUMENTS', 'this is no name of a release')
  }
  return join(dir, name)
}
