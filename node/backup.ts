/**
 * Backups from outside a running device: of one that does not run, and into a folder that holds
 * none. A restored folder appears whole, under its name, or not at all.
 */
import { existsSync } from 'node:fs'
import { chmod, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'

import { homeText, peerIdOf, signerFromSeed } from '../protocols/identity/index.ts'
import { reduce } from '../protocols/members/index.ts'
import { equalBytes, fromHex, toHex } from '../protocols/wire/index.ts'
import type { Config } from './config.ts'
import { FILES } from './device/open-base.ts'
import { systemClock, systemRandom } from './env.ts'
import { NodeError } from './errors.ts'
import { MIGRATIONS } from './migrations.ts'
import type { Paths } from './paths.ts'
import { checkBackup, type BackupItem } from './storage/backup-check.ts'
import { fileFrames, TRUST_FILE } from './storage/backup-files.ts'
import { damaged, encodeBackup, readBackup, type Frame } from './storage/backup-format.ts'
import { restoreRows } from './storage/backup-restore.ts'
import { backupFrames } from './storage/backup-rows.ts'
import { openDatabase } from './storage/db.ts'
import {
  createFileAtomic,
  ensurePrivateFolder,
  syncFolder,
  writeFileAtomic,
} from './storage/files.ts'
import { loadOrCreateSeed } from './storage/key-file.ts'
import { lockFolder } from './storage/lock.ts'
import { openPackStore } from './storage/packs.ts'
import { updateFolders } from './update-folders.ts'
import { kithVersion } from './version.ts'

/**
 * The bytes of a backup of a device that does not run.
 * @throws NodeError NODE_NOT_RUNNING where there is none, NODE_LOCKED where it runs, NODE_DATABASE
 */
export async function* backupStopped(
  { paths }: Config,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const { dataDir, configFile } = paths
  const database = join(dataDir, FILES.database)
  if (!existsSync(database) || !existsSync(join(dataDir, FILES.key))) {
    throw new NodeError('NODE_NOT_RUNNING', `There is no device in ${dataDir}.`, {
      hint: 'Start it with: kith up',
    })
  }
  await using _folder = await lockFolder(dataDir)
  const { seed } = await loadOrCreateSeed(dataDir, systemRandom)
  const db = openDatabase(database, MIGRATIONS)
  try {
    // Rows that a start would write: summaries come to nothing without them.
    openPackStore(db).file()
    const device = toHex(signerFromSeed(seed.reveal()).key)
    const head = { device, version: kithVersion(), at: systemClock.now() }
    const files = await fileFrames(configFile, updateFolders(paths).state)
    for await (const piece of encodeBackup(backupFrames({ database, head, files }))) {
      signal.throwIfAborted()
      yield piece
    }
  } finally {
    db.close()
  }
}

export interface Restored {
  /** Null where the backup is of a device without a home. */
  readonly home: string | null
  readonly homeName: string | null
  /** Peer id of the new key. */
  readonly device: string
  /** Whose backup it was: its peer id, and its name in the home. */
  readonly from: { readonly device: string; readonly name: string }
  readonly at: number
  readonly packs: number
  /** Where the settings are; null where there were none. */
  readonly settings: string | null
}

export interface RestoreOptions {
  readonly paths: Paths
  /** Bytes read so far, of all that are read: the file is read twice. */
  readonly onProgress?: (bytes: number, of: number) => void
}

/**
 * Make a device of a backup, with a new key. Everything is checked before anything is written.
 * @throws NodeError NODE_USAGE where the file is no whole backup, NODE_CONFLICT where there is a
 * device already, NODE_LOCKED where another restore is under way, NODE_DENIED, NODE_DATABASE
 */
export async function restoreBackup(
  path: string,
  { paths, onProgress }: RestoreOptions,
  signal: AbortSignal,
): Promise<Restored> {
  await requireEmpty(paths.dataDir)
  // Opened once, so that what was checked is what is read again.
  await using file = await open(path, 'r').catch((cause: unknown) => {
    throw new NodeError('NODE_USAGE', `The file ${path} cannot be read.`, { cause })
  })
  const { size } = await file.stat()
  const told = (bytes: number): void => onProgress?.(bytes, 2 * size)
  const frames = (before: number, onEnd: (hash: Uint8Array) => void): AsyncIterable<Frame> => {
    const readAt: ReadAt = (at, into) => file.read(into, 0, into.length, at)
    return readBackup(piecesOf(readAt, told, before, signal), onEnd)
  }
  let hash = new Uint8Array()
  const facts = await lookAt(checkBackup(frames(0, (found) => (hash = new Uint8Array(found)))))
  // The same bytes once more, or nothing comes of it: their signatures are known to be right.
  const again = frames(size, (found) => {
    if (!equalBytes(found, hash)) throw damaged('it was changed meanwhile')
  })
  const staging = `${paths.dataDir}.restoring`
  const device = await build(staging, facts, checkBackup(again, { verify: () => true }))
  const settings = await placeSettings(paths, staging, facts.settings)
  await moveIn(staging, paths.dataDir)
  return { ...facts.shown, device, settings }
}

type ReadAt = (at: number, into: Uint8Array) => Promise<{ readonly bytesRead: number }>

const SQLITE_CONSTRAINT = 19
const PIECE_BYTES = 1024 * 1024

async function* piecesOf(
  read: ReadAt,
  told: (bytes: number) => void,
  before: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for (let at = 0; ;) {
    signal.throwIfAborted()
    const piece = new Uint8Array(PIECE_BYTES)
    const { bytesRead } = await read(at, piece)
    if (bytesRead === 0) return
    at += bytesRead
    told(before + at)
    yield piece.subarray(0, bytesRead)
  }
}

/** A device's folder is never touched. @throws NodeError NODE_CONFLICT */
async function requireEmpty(dataDir: string): Promise<void> {
  const found = await readdir(dataDir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  if (found.length === 0) return
  throw new NodeError('NODE_CONFLICT', `The folder ${dataDir} is not empty: ${found[0]}.`, {
    hint: 'Nothing was changed. A backup is restored into an empty folder only: move this one away, or name another with --data-dir.',
  })
}

interface Facts {
  readonly settings: string | undefined
  readonly shown: Omit<Restored, 'device' | 'settings'>
}

/** Read all of it, and so check all of it. */
async function lookAt(items: AsyncIterable<BackupItem>): Promise<Facts> {
  let settings: string | undefined
  let from = { key: '', name: '' }
  let home = { id: null as string | null, name: null as string | null }
  let [at, packs] = [0, 0]
  for await (const item of items) {
    if (item.part === 'head') {
      from = { ...from, key: item.head.device }
      at = item.head.at
      packs = item.head.packs
    } else if (item.part === 'settings') settings = item.text
    else if (item.part === 'home') {
      const state = reduce(item.ops)
      home = { id: homeText(item.ops.home), name: state.name }
      from = { ...from, name: state.devices.get(from.key)?.name ?? '' }
    }
  }
  const device = peerIdOf(fromHex(from.key))
  const shown = { from: { device, name: from.name }, home: home.id, homeName: home.name, at, packs }
  return { settings, shown }
}

/** The whole folder under another name, on the disk. Returns the peer id of its new key. */
async function build(
  staging: string,
  { settings }: Facts,
  items: AsyncIterable<BackupItem>,
): Promise<string> {
  await makeStaging(staging)
  try {
    const lock = await lockFolder(staging)
    try {
      const { seed } = await loadOrCreateSeed(staging, systemRandom)
      await fill(staging, items)
      if (settings !== undefined) await createFileAtomic(stagedSettings(staging), bytesOf(settings))
      return signerFromSeed(seed.reveal()).peerId
    } finally {
      await lock[Symbol.asyncDispose]()
    }
  } catch (error) {
    await rm(staging, { recursive: true, force: true })
    throw error
  }
}

/** What an interrupted restore left is removed. @throws NodeError NODE_LOCKED, NODE_DENIED */
async function makeStaging(staging: string): Promise<void> {
  if (existsSync(staging)) {
    const lock = await lockFolder(staging)
    await lock[Symbol.asyncDispose]()
    await rm(staging, { recursive: true, force: true })
  }
  await ensurePrivateFolder(staging)
}

async function fill(staging: string, items: AsyncIterable<BackupItem>): Promise<void> {
  const db = openDatabase(join(staging, FILES.database), MIGRATIONS)
  try {
    await restoreRows(db, withTrust(staging, items))
    db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  } catch (cause) {
    // What each row says was checked, not that no other says the same.
    const { errcode = 0 } = cause as { errcode?: number }
    throw (errcode & 0xff) === SQLITE_CONSTRAINT
      ? damaged('something is there twice', cause)
      : cause
  } finally {
    db.close()
  }
  for (const name of [FILES.database, 'kith.lock']) await chmod(join(staging, name), 0o600)
}

/** What is believed of channels goes into its files, everything else on. */
async function* withTrust(
  staging: string,
  items: AsyncIterable<BackupItem>,
): AsyncGenerator<BackupItem> {
  const { state } = updateFolders({ dataDir: staging, cacheDir: staging })
  for await (const item of items) {
    if (item.part !== 'trust') {
      yield item
      continue
    }
    const folder = join(state, item.channel)
    await ensurePrivateFolder(folder)
    await createFileAtomic(join(folder, TRUST_FILE), item.bytes)
  }
}

function stagedSettings(staging: string): string {
  return join(staging, 'config.toml')
}

/** Settings that are there already stay; the restored ones are put beside them. */
async function placeSettings(
  { configFile, dataDir }: Paths,
  staging: string,
  settings: string | undefined,
): Promise<string | null> {
  if (settings === undefined) return null
  if (configFile === join(dataDir, 'config.toml')) return configFile
  await rm(stagedSettings(staging), { force: true })
  await mkdir(dirname(configFile), { recursive: true, mode: 0o700 })
  const taken = existsSync(configFile) && (await readFile(configFile, 'utf8')) !== settings
  const path = taken ? `${configFile}.restored` : configFile
  await writeFileAtomic(path, bytesOf(settings))
  return path
}

/** The moment in which the device is there. Takes the place of an empty folder. */
async function moveIn(staging: string, dataDir: string): Promise<void> {
  try {
    await syncFolder(staging)
    await rename(staging, dataDir)
    await syncFolder(dirname(dataDir))
  } catch (cause) {
    await rm(staging, { recursive: true, force: true })
    throw new NodeError('NODE_CONFLICT', `The folder ${dataDir} cannot be made.`, {
      cause,
      hint: 'Nothing was changed. It must be missing or empty, and the folder around it yours.',
    })
  }
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}
