/**
 * Starts the version that `current` leads to, and counts the starts of one on trial: for programs
 * that install their own next version, so that one which does not come up is left without its help.
 * Uses nothing but what is in this file and Node.js: it outlives the versions that it starts.
 *
 *   node launch.ts ROOT PROGRAM [ARGUMENT…]      PROGRAM is a path within the version
 *
 * A program that ends with 75 asks to be started again. One on trial that ends is started again
 * until it was started too often; then the version before runs. Any other end is passed on.
 */
import { spawn } from 'node:child_process'
import {
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'

interface Known {
  readonly version: string
  readonly build: number
  readonly id: string
}

interface KnownJournal {
  readonly installed?: Known
  readonly trial?: { readonly phase: string; readonly boots: number; readonly release: Known }
  readonly ill: readonly string[]
}

const AGAIN = 75
const MAX_BOOTS = 3
const PAUSE_MS = 1_000

/** Count a start, and go back where it is one too many. On trial or not afterwards. */
export function countStart(root: string, maxBoots = MAX_BOOTS): 'trial' | 'settled' {
  const path = join(root, 'journal.json')
  const journal = readJournal(path)
  const { trial, installed } = journal ?? {}
  if (journal === undefined || trial === undefined) return 'settled'
  const { phase, boots, release } = trial
  if (phase === 'reverting') {
    pointTo(root, installed)
    return 'settled'
  }
  if (!(phase === 'trial' || phase === 'switching') || !leadsTo(root, release)) return 'settled'
  if (boots < maxBoots) {
    replace(root, path, { ...journal, trial: { ...trial, phase: 'trial', boots: boots + 1 } })
    return 'trial'
  }
  const ill = [...journal.ill.filter((one) => one !== release.id), release.id]
  replace(root, path, { ...journal, ill, trial: { ...trial, phase: 'reverting' } })
  pointTo(root, installed)
  return 'settled'
}

function readJournal(path: string): KnownJournal | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as KnownJournal
  } catch {
    // None, or damaged: what `current` leads to is all that is known.
    return undefined
  }
}

function folderName({ version, build }: Known): string {
  return join('versions', `${version}-${build}`)
}

function leadsTo(root: string, release: Known): boolean {
  try {
    return realpathSync(join(root, 'current')) === realpathSync(join(root, folderName(release)))
  } catch {
    return false
  }
}

function pointTo(root: string, build: Known | undefined): void {
  if (build === undefined) return
  const temporary = join(root, 'current.new')
  rmSync(temporary, { force: true })
  symlinkSync(folderName(build), temporary)
  renameSync(temporary, join(root, 'current'))
  syncFolder(root)
}

function replace(root: string, path: string, journal: KnownJournal): void {
  const temporary = `${path}.launch`
  const file = openSync(temporary, 'w', 0o600)
  try {
    writeSync(file, `${JSON.stringify(journal)}\n`)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(temporary, path)
  syncFolder(root)
}

function syncFolder(path: string): void {
  const folder = openSync(path, 'r')
  fsyncSync(folder)
  closeSync(folder)
}

async function run(root: string, program: string, args: readonly string[]): Promise<number> {
  for (;;) {
    const before = countStart(root)
    const { code, stopped } = await start(join(root, 'current', program), args)
    // It may have installed its next version and left.
    const trial = before === 'trial' || readJournal(join(root, 'journal.json'))?.trial !== undefined
    if (stopped || (code !== AGAIN && !(trial && code !== 0))) return code
    if (code !== AGAIN) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
  }
}

interface End {
  readonly code: number
  /** It was told to end. */
  readonly stopped: boolean
}

function start(program: string, args: readonly string[]): Promise<End> {
  const script = /\.[cm]?[jt]s$/.test(program)
  const argv = script ? [process.execPath, program, ...args] : [program, ...args]
  const child = spawn(argv[0] ?? program, argv.slice(1), { stdio: 'inherit' })
  let stopped = false
  const pass = (signal: NodeJS.Signals): void => {
    stopped = true
    child.kill(signal)
  }
  process.on('SIGTERM', pass).on('SIGINT', pass).on('SIGHUP', pass)
  return new Promise((resolve) => {
    const end = (code: number): void => {
      process.off('SIGTERM', pass).off('SIGINT', pass).off('SIGHUP', pass)
      resolve({ code, stopped })
    }
    child.once('error', () => end(126))
    child.once('exit', (code) => end(code ?? 1))
  })
}

if (import.meta.main) {
  const [root = '', program = '', ...args] = process.argv.slice(2)
  process.exitCode = await run(root, program, args)
}
