/**
 * A program of the owner's. It is said one word, `stage`, `switch`, `current`, `confirm`, `revert`
 * or `tidy`, and gets what it is about as JSON on its standard input:
 *
 *   { "name", "version", "build", "id", "args": {…}, "folder": "…",
 *     "file": "…" (stage), "previous": {"version", "build"} | null, "keep": [{…}] (tidy) }
 *
 * `folder` is its own, to keep versions in. It ends with 0 where the step is done, also where it was
 * done before. `current` prints {"version": "…", "build": n}, or nothing. Of any other end, the last
 * line of its standard error is told to people.
 */
import { join } from 'node:path'

import { makeFolder } from './disk.ts'
import { InstallError } from './errors.ts'
import { runProgram } from './run.ts'
import type { Site } from './site.ts'
import type { Build, InstallContext, Installer, Release, StageContext } from './types.ts'

const STEP_MS = 600_000
const CURRENT_MS = 10_000

type Word = 'stage' | 'switch' | 'current' | 'confirm' | 'revert' | 'tidy'

export function execInstaller({ root, clock, exec }: Site): Installer {
  if (exec?.[0]?.startsWith('/') !== true) {
    throw new InstallError(
      'INSTALL_ARGUMENTS',
      'no program for releases of this name is set on this device',
    )
  }
  const folder = join(root, 'program')

  async function say(word: Word, about: object, signal: AbortSignal): Promise<string> {
    await makeFolder(folder, 0o700)
    return runProgram({
      argv: [...(exec ?? []), word],
      clock,
      timeoutMs: word === 'current' ? CURRENT_MS : STEP_MS,
      signal,
      input: `${JSON.stringify({ ...about, folder })}\n`,
    })
  }

  const step = async (word: Word, context: InstallContext | StageContext): Promise<void> => {
    const { release, previous, signal } = context
    const file = 'file' in context ? { file: context.file } : {}
    await say(
      word,
      { ...told(release), previous: previous === undefined ? null : plain(previous), ...file },
      signal,
    )
  }

  return {
    name: 'exec',
    stage: (context) => step('stage', context),
    switch: (context) => step('switch', context),
    confirm: (context) => step('confirm', context),
    revert: (context) => step('revert', context),
    current: async (signal) => buildIn(await say('current', {}, signal)),
    tidy: async (keep, signal) => void (await say('tidy', { keep: keep.map(plain) }, signal)),
  }
}

function told({ name, version, build, id, args }: Release): object {
  return { name, version, build, id, args }
}

function plain({ version, build }: Build): Build {
  return { version, build }
}

function buildIn(text: string): Build | undefined {
  if (text.trim() === '') return undefined
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new InstallError(
      'INSTALL_PROGRAM',
      'the program did not print which version is installed',
    )
  }
  if (value === null) return undefined
  const { version, build } = value as Partial<Build>
  if (typeof version !== 'string' || !Number.isInteger(build) || build === undefined) {
    throw new InstallError(
      'INSTALL_PROGRAM',
      'the program did not print which version is installed',
    )
  }
  return { version, build }
}
