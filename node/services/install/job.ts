/**
 * The steps of installing under one name. Every step is in the journal before it begins, so that a
 * start after a crash or a power cut knows what to finish and what to undo.
 *
 * Not here: where a release comes from, whether it may be installed now, and who is told.
 */
import { asError } from '../../errors.ts'
import { InstallError, isFull, withoutSpace } from './errors.ts'
import { judgeHealth, type HealthDeps, type Verdict } from './health.ts'
import {
  giveUpSpare,
  keepSpare,
  withIll,
  writeJournal,
  type Journal,
  type Phase,
} from './journal.ts'
import type { Site } from './site.ts'
import {
  sameBuild,
  type Build,
  type InstallContext,
  type Installer,
  type Release,
} from './types.ts'

export type Outcome =
  /** It runs and is well. */
  | { readonly what: 'installed'; readonly release: Release }
  /** It was ill, and what ran before runs again, or nothing where nothing did. */
  | { readonly what: 'rolled-back'; readonly release: Release; readonly why: string }
  /** All there, not switched to yet. */
  | { readonly what: 'staged'; readonly release: Release }
  /** It runs after the start of the machine that was asked for. */
  | { readonly what: 'restarting'; readonly release: Release }

export interface JobDeps extends HealthDeps {
  /** Folder of this name: the journal's, and the installer's. */
  readonly root: string
  readonly site: Site
  readonly installer: (release: Pick<Release, 'installer'>, site: Site) => Installer
  /** A version on trial may be started so often; with the next start the way back begins. */
  readonly maxBoots?: number | undefined
  /** A launcher counts the starts. */
  readonly launched: boolean
}

const MAX_BOOTS = 3

export class Job {
  readonly #deps: JobDeps
  #journal: Journal

  constructor(deps: JobDeps, journal: Journal) {
    this.#deps = deps
    this.#journal = journal
  }

  async stage(release: Release, file: string, signal: AbortSignal): Promise<void> {
    const { previous, trial, ...rest } = this.#journal
    if (trial !== undefined && trial.phase !== 'staged') {
      throw new InstallError('INSTALL_BUSY', `${release.name} ${trial.release.version} is on trial`)
    }
    if (rest.ill.includes(release.id)) {
      const text = `${release.name} ${release.version} was ill on this device`
      throw new InstallError('INSTALL_ILL', text)
    }
    if (sameBuild(rest.installed, release)) {
      const text = `${release.name} ${release.version} is installed already`
      throw new InstallError('INSTALL_ARGUMENTS', text)
    }
    const installer = this.#installer(release)
    // A half replaced version is none to go back to.
    await this.#note(sameBuild(previous, release) ? rest : { ...rest, previous })
    await installer.tidy(this.#kept(), signal)
    await keepSpare(this.#deps.root)
    try {
      await this.#enter('staging', release)
      await installer.stage({ ...this.#context(release, signal), file })
      signal.throwIfAborted()
      await this.#enter('staged', release)
    } catch (error) {
      await this.#drop(release, new AbortController().signal)
      throw error
    }
  }

  async change(signal: AbortSignal): Promise<Outcome> {
    const { trial } = this.#journal
    if (trial?.phase !== 'staged') throw new InstallError('INSTALL_NOT_STAGED')
    const { release } = trial
    try {
      await this.#enter('switching', release)
    } catch (error) {
      if (isFull(error)) await this.#drop(release, signal)
      throw error
    }
    const installer = this.#installer(release)
    const fault = await this.#faultOf(async () => {
      await installer.switch(this.#context(release, signal))
      await this.#enter('trial', release)
      await installer.reboot?.(signal)
    }, signal)
    if (fault !== undefined) return this.#undo(release, fault, signal)
    if (installer.reboot !== undefined) return { what: 'restarting', release }
    return this.#judge(release, signal)
  }

  async resume(signal: AbortSignal): Promise<Outcome | undefined> {
    const { trial, installed } = this.#journal
    if (trial === undefined) {
      await giveUpSpare(this.#deps.root)
      if (installed !== undefined) await this.#installer(installed).tidy(this.#kept(), signal)
      return undefined
    }
    const { phase, release } = trial
    if (phase === 'staging') {
      await this.#drop(release, signal)
      return undefined
    }
    if (phase === 'staged') return { what: 'staged', release }
    if (phase === 'reverting') return this.#undo(release, 'the way back was cut short', signal)
    const current = await this.#installer(release).current(signal)
    if (sameBuild(current, release)) return this.#started(release, trial.boots, signal)
    if (phase === 'switching' && sameBuild(current, installed)) {
      // Nothing happened yet.
      await this.#enter('staged', release)
      return { what: 'staged', release }
    }
    return this.#undo(release, 'it did not start', signal)
  }

  async rollback(signal: AbortSignal): Promise<Outcome> {
    const { installed: release, previous, trial, ...rest } = this.#journal
    if (trial !== undefined && trial.phase !== 'staged') throw new InstallError('INSTALL_BUSY')
    if (release === undefined || previous === undefined) {
      throw new InstallError('INSTALL_NO_WAY_BACK')
    }
    const ill = withIll(rest.ill, release.id)
    // From here on, what ran is a trial that failed.
    const reverting = { phase: 'reverting', release, boots: 0 } as const
    await this.#note({ ...rest, installed: previous, ill, trial: reverting })
    await this.#revert(release, signal)
    return { what: 'rolled-back', release, why: 'by hand' }
  }

  async discard(signal: AbortSignal): Promise<void> {
    const { trial } = this.#journal
    if (trial?.phase === 'staged') await this.#drop(trial.release, signal)
  }

  async forgive(id: string): Promise<void> {
    await this.#note({ ...this.#journal, ill: this.#journal.ill.filter((one) => one !== id) })
  }

  async #started(release: Release, before: number, signal: AbortSignal): Promise<Outcome> {
    const { launched, maxBoots = MAX_BOOTS } = this.#deps
    const boots = launched ? before : before + 1
    if (boots > maxBoots) {
      return this.#undo(release, `it was started ${maxBoots} times and never well`, signal)
    }
    await this.#enter('trial', release, boots)
    return this.#judge(release, signal)
  }

  async #judge(release: Release, signal: AbortSignal): Promise<Outcome> {
    let verdict: Verdict = { well: true }
    const fault = await this.#faultOf(async () => {
      verdict = await judgeHealth(release.health, this.#deps, signal)
      if (!verdict.well) return
      await this.#installer(release).confirm(this.#context(release, signal))
      await this.#settle(release)
    }, signal)
    const why = fault ?? (verdict as { readonly why?: string }).why
    if (why !== undefined) return this.#undo(release, why, signal)
    await this.#installer(release).tidy(this.#kept(), signal)
    return { what: 'installed', release }
  }

  /** Why a step of a trial failed. @throws only what stopped it from outside: it goes on later */
  async #faultOf(run: () => Promise<void>, signal: AbortSignal): Promise<string | undefined> {
    try {
      await run()
      return undefined
    } catch (error) {
      signal.throwIfAborted()
      return asError(withoutSpace(error)).message
    }
  }

  /** The version stays, and the one before it is kept. */
  async #settle(release: Release): Promise<void> {
    const { trial: _, installed, ...rest } = this.#journal
    await this.#note({ ...rest, installed: release, previous: installed })
    await giveUpSpare(this.#deps.root)
  }

  /** Back to what was installed; this build is never tried again. */
  async #undo(release: Release, why: string, signal: AbortSignal): Promise<Outcome> {
    const ill = withIll(this.#journal.ill, release.id)
    const boots = this.#journal.trial?.boots ?? 0
    await this.#note({ ...this.#journal, ill, trial: { phase: 'reverting', release, boots } })
    await this.#revert(release, signal)
    return { what: 'rolled-back', release, why }
  }

  async #revert(release: Release, signal: AbortSignal): Promise<void> {
    const installer = this.#installer(release)
    const ran = sameBuild(await installer.current(signal), release)
    await installer.revert(this.#context(release, signal))
    await this.#drop(release, signal)
    if (ran) await installer.reboot?.(signal)
  }

  /** Leave nothing of what was being installed. */
  async #drop(release: Release, signal: AbortSignal): Promise<void> {
    const { trial: _, ...rest } = this.#journal
    // Removed first: on a full disk this makes the space for the journal.
    await this.#installer(release).tidy(builds(rest), signal)
    await this.#note(rest)
    await giveUpSpare(this.#deps.root)
  }

  #enter(phase: Phase, release: Release, boots = 0): Promise<void> {
    return this.#note({ ...this.#journal, trial: { phase, release, boots } })
  }

  async #note(next: Journal): Promise<void> {
    await writeJournal(this.#deps.root, next)
    this.#journal = next
  }

  #installer(release: Release): Installer {
    return this.#deps.installer(release, this.#deps.site)
  }

  #context(release: Release, signal: AbortSignal): InstallContext {
    return { release, previous: this.#journal.installed, signal }
  }

  #kept(): Build[] {
    return builds(this.#journal)
  }
}

/** Builds that a journal still needs. */
function builds({ installed, previous, trial }: Journal): Build[] {
  return [installed, previous, trial?.release].filter((one) => one !== undefined)
}
