/**
 * Starts the version that `current` leads to, and counts the starts of one on trial: for programs
 * that install their own next version, so that one which does not come up is left without its help.
 * Uses nothing but what is in this file and Node.js: it outlives the versions that it starts.
 *
 *   node launch.ts [--base FOLDER] [--patience SECONDS] ROOT PROGRAM [ARGUMENT…]
 *
 * PROGRAM is a path within the version; where none is installed, within the folder of `--base`. It
 * finds ROOT in KITH_LAUNCHED. A program that ends with 75 asks to be started again. One on trial that
 * ends, or is not known to be well after the patience (120 s, and the time of its health check), is
 * started again until it was started too often; then the version before runs. Any other end is
 * passed on.
 */
import { spawn } from 'node:child_process'
import {
  closeSync,
  existsSync,
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
import { parseArgs } from 'node:util'

interface Known {
  readonly version: string
  readonly build: number
  readonly id: string
  readonly health?: { readonly withinSeconds: number }
}

interface KnownJournal {
  readonly installed?: Known
  readonly trial?: { readonly phase: string; readonly boots: number; readonly release: Known }
  readonly ill: readonly string[]
}

const AGAIN = 75
const MAX_BOOTS = 3
const PAUSE_MS = 1_000
const PATIENCE_S = 120

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
  if (build === undefined) {
    rmSync(join(root, 'current'), { force: true })
    syncFolder(root)
    return
  }
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

interface Launch {
  readonly root: string
  readonly program: string
  readonly args: readonly string[]
  /** Folder of what runs where nothing is installed. */
  readonly base: string | undefined
  readonly patienceMs: number
}

async function run(launch: Launch): Promise<number> {
  const { root, program, args } = launch
  for (;;) {
    const before = countStart(root)
    const limitMs = before === 'trial' ? patienceOf(launch) : undefined
    const { code, stopped } = await start(join(folderOf(launch), program), args, { root, limitMs })
    // It may have installed its next version and left.
    const trial = before === 'trial' || trialIn(root) !== undefined
    if (stopped || (code !== AGAIN && !(trial && code !== 0))) return code
    if (code !== AGAIN) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
  }
}

function folderOf({ root, base }: Launch): string {
  const installed = join(root, 'current')
  return base === undefined || existsSync(installed) ? installed : base
}

function patienceOf({ root, patienceMs }: Launch): number {
  const { health } = trialIn(root)?.release ?? {}
  return patienceMs + (health?.withinSeconds ?? 0) * 1000
}

function trialIn(root: string): KnownJournal['trial'] {
  return readJournal(join(root, 'journal.json'))?.trial
}

interface End {
  readonly code: number
  /** It was told to end. */
  readonly stopped: boolean
}

interface Watch {
  readonly root: string
  /** One that is on trial by then is ended; undefined for one that is trusted. */
  readonly limitMs: number | undefined
}

function start(program: string, args: readonly string[], { root, limitMs }: Watch): Promise<End> {
  const script = /\.[cm]?[jt]s$/.test(program)
  const argv = script ? [process.execPath, program, ...args] : [program, ...args]
  const child = spawn(argv[0] ?? program, argv.slice(1), {
    // A program of Node.js sees by the channel that this one is gone.
    stdio: script ? ['inherit', 'inherit', 'inherit', 'ipc'] : 'inherit',
    env: { ...process.env, KITH_LAUNCHED: root },
  })
  let stopped = false
  const pass = (signal: NodeJS.Signals): void => {
    stopped = true
    child.kill(signal)
  }
  const watch = setTimeout(
    () => trialIn(root)?.phase === 'trial' && child.kill('SIGKILL'),
    limitMs ?? 0,
  )
  if (limitMs === undefined) clearTimeout(watch)
  process.on('SIGTERM', pass).on('SIGINT', pass).on('SIGHUP', pass)
  return new Promise((resolve) => {
    const end = (code: number): void => {
      clearTimeout(watch)
      process.off('SIGTERM', pass).off('SIGINT', pass).off('SIGHUP', pass)
      resolve({ code, stopped })
    }
    child.once('error', () => end(126))
    child.once('exit', (code) => end(code ?? 1))
  })
}

/** What comes behind PROGRAM is the program's. */
function launchFrom(argv: readonly string[]): Launch {
  const at = argv.findIndex((word, i) => !word.startsWith('--') && !isOption(argv[i - 1]))
  const own = at < 0 ? argv : argv.slice(0, at)
  const [root = '', program = '', ...args] = at < 0 ? [] : argv.slice(at)
  const options = { base: { type: 'string' }, patience: { type: 'string' } } as const
  const { base, patience } = parseArgs({ args: [...own], options }).values
  const patienceMs = Number(patience ?? PATIENCE_S) * 1000
  if (root === '' || program === '' || !(patienceMs > 0)) {
    throw new Error('launch [--base FOLDER] [--patience SECONDS] ROOT PROGRAM [ARGUMENT…]')
  }
  return { root, program, args, base, patienceMs }
}

function isOption(word: string | undefined): boolean {
  return word === '--base' || word === '--patience'
}

if (import.meta.main) process.exitCode = await run(launchFrom(process.argv.slice(2)))
