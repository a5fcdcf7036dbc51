/**
 * What is installed under one name, what is being installed, and what was ill: one small file,
 * replaced as a whole. It is on the disk before the step that it tells of begins.
 */
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'

import { INSTALLERS } from '../../../protocols/update/index.ts'
import { writeFileAtomic } from '../../storage/files.ts'
import { InstallError, isFull } from './errors.ts'
import type { Release } from './types.ts'

/**
 * staging: being laid beside what runs. staged: all there. switching: about to become the one that
 * runs. trial: runs, and is not yet known to be well. reverting: the way back has begun.
 */
export const PHASES = ['staging', 'staged', 'switching', 'trial', 'reverting'] as const
export type Phase = (typeof PHASES)[number]

export interface Trial {
  readonly phase: Phase
  readonly release: Release
  /** Starts of the machine, or of the program by its launcher, since it became the one that runs. */
  readonly boots: number
}

export interface Journal {
  readonly v: 1
  readonly installed?: Release | undefined
  /** Was installed before, and is kept. */
  readonly previous?: Release | undefined
  readonly trial?: Trial | undefined
  /** Ids of releases that were ill here, oldest first. */
  readonly ill: readonly string[]
}

export const EMPTY_JOURNAL: Journal = { v: 1, ill: [] }
export const JOURNAL_FILE = 'journal.json'
/** More ill releases than that are forgotten, oldest first. */
const MAX_ILL = 256
/** Given up where the journal does not fit any more. */
const SPARE_FILE = '.spare'
const SPARE_BYTES = 128 * 1024

/** @throws InstallError INSTALL_JOURNAL */
export async function readJournal(folder: string): Promise<Journal> {
  let text: string
  try {
    text = await readFile(join(folder, JOURNAL_FILE), 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return EMPTY_JOURNAL
    throw error
  }
  const value = parsed(text)
  if (value === undefined) {
    throw new InstallError('INSTALL_JOURNAL', `${join(folder, JOURNAL_FILE)} is damaged`)
  }
  return value
}

/** The journal that `text` is; undefined where it is none. */
export function parsed(text: string): Journal | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  return isJournal(value) ? value : undefined
}

function isJournal(value: unknown): value is Journal {
  if (!isRecord(value) || value['v'] !== 1) return false
  const { installed, previous, trial, ill } = value
  if (!Array.isArray(ill) || !ill.every((one) => typeof one === 'string')) return false
  if (![installed, previous].every((one) => one === undefined || isRelease(one))) return false
  if (trial === undefined) return true
  if (!isRecord(trial) || !isRelease(trial['release'])) return false
  return Number.isInteger(trial['boots']) && PHASES.includes(trial['phase'] as Phase)
}

function isRelease(value: unknown): value is Release {
  return (
    isRecord(value) &&
    [value['id'], value['name'], value['version']].every((one) => typeof one === 'string') &&
    Number.isInteger(value['build']) &&
    INSTALLERS.includes(value['installer'] as Release['installer']) &&
    isRecord(value['args'])
  )
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** On the disk when it resolves. On a full disk the spare is given up for it. */
export async function writeJournal(folder: string, journal: Journal): Promise<void> {
  const path = join(folder, JOURNAL_FILE)
  const bytes = Buffer.from(`${JSON.stringify(journal)}\n`)
  try {
    await writeFileAtomic(path, bytes)
  } catch (error) {
    if (!isFull(error)) throw error
    await rm(join(folder, SPARE_FILE), { force: true })
    await writeFileAtomic(path, bytes)
  }
}

/** Space for the journal is kept, whatever else fills the disk. */
export async function keepSpare(folder: string): Promise<void> {
  // Zeros would take no space on some file systems.
  const bytes = new Uint8Array(SPARE_BYTES).map((_, i) => (i * 2_654_435_761) >>> 13)
  await writeFileAtomic(join(folder, SPARE_FILE), bytes)
}

export async function giveUpSpare(folder: string): Promise<void> {
  await rm(join(folder, SPARE_FILE), { force: true })
}

export function withIll(ill: readonly string[], id: string): string[] {
  return [...ill.filter((one) => one !== id), id].slice(-MAX_ILL)
}
