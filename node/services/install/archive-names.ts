/** Which entries an archive may hold: names that mean one thing everywhere, and no way out. */
import { dirname } from 'node:path/posix'

import type { ReadEntry } from 'tar'

import { InstallError } from './errors.ts'

export type Item =
  | { readonly kind: 'folder'; readonly path: string }
  | { readonly kind: 'link'; readonly path: string; readonly target: string }
  | { readonly kind: 'file'; readonly path: string; readonly executable: boolean }

const MAX_PATH_BYTES = 1_024
const MAX_NAME_BYTES = 255
const MAX_DEPTH = 32
const SPECIAL_BITS = 0o7000
const ANY_EXECUTE = 0o111
/** Control characters; what UTF-8 could not be read as; text that turns the reading direction. */
const MISLEADING = /[\p{Cc}\p{Cs}\uFFFD\u202A-\u202E\u2066-\u2069\\]/u

/** Kinds that are refused, as people call them. */
const KINDS: Readonly<Record<string, string>> = {
  Link: 'a hard link',
  CharacterDevice: 'a device',
  BlockDevice: 'a device',
  FIFO: 'a pipe',
  ContiguousFile: 'of an old kind',
  GNUDumpDir: 'of an old kind',
}

export function badArchive(detail: string): InstallError {
  return new InstallError('INSTALL_ARCHIVE', `The archive is refused: ${detail}.`)
}

/** Part of a text of others, safe to print. */
export function quoted(text: string): string {
  const short = text.length > 80 ? `${text.slice(0, 80)}…` : text
  return JSON.stringify(short.replaceAll(/[\p{Cc}\p{Cs}\u202A-\u202E\u2066-\u2069]/gu, '?'))
}

/** Takes the entries of one archive in their order. */
export function createNames(): { take(entry: ReadEntry): Item } {
  /** By spelling that case and composition do not change: the path, and what is there. */
  const seen = new Map<string, { readonly path: string; kind: Item['kind']; named: boolean }>()

  function place(item: Item): void {
    const parent = dirname(item.path)
    if (parent !== '.') enter(parent, item.path)
    const there = seen.get(folded(item.path))
    if (there !== undefined && there.path !== item.path) throw twins(there.path, item.path)
    if (there !== undefined && (there.named || item.kind !== 'folder')) {
      throw badArchive(`${quoted(item.path)} is in it twice`)
    }
    seen.set(folded(item.path), { path: item.path, kind: item.kind, named: true })
  }

  /** Every folder on the way to `path` is a folder, or becomes one. */
  function enter(folder: string, path: string): void {
    const parent = dirname(folder)
    if (parent !== '.') enter(parent, path)
    const there = seen.get(folded(folder))
    if (there === undefined) {
      seen.set(folded(folder), { path: folder, kind: 'folder', named: false })
      return
    }
    if (there.path !== folder) throw twins(there.path, folder)
    if (there.kind !== 'folder') {
      throw badArchive(`${quoted(path)} lies below ${quoted(folder)}, which is no folder`)
    }
  }

  return {
    take(entry) {
      const item = itemOf(entry)
      place(item)
      return item
    },
  }
}

function folded(path: string): string {
  return path.normalize('NFKC').toLowerCase().normalize('NFKC')
}

function twins(one: string, other: string): InstallError {
  return badArchive(`${quoted(one)} and ${quoted(other)} are one name on some file systems`)
}

function itemOf({ type, path: raw, mode = 0, linkpath, size }: ReadEntry): Item {
  const path = pathOf(raw, type)
  if ((mode & SPECIAL_BITS) !== 0) {
    throw badArchive(
      `${quoted(path)} would run with the rights of another user, or is marked sticky`,
    )
  }
  if (type === 'File' || type === 'OldFile') {
    return { kind: 'file', path, executable: (mode & ANY_EXECUTE) !== 0 }
  }
  if (size !== 0) throw badArchive(`${quoted(path)} has content and is no file`)
  if (type === 'Directory') return { kind: 'folder', path }
  if (type !== 'SymbolicLink') throw badArchive(`${quoted(path)} is ${KINDS[type] ?? 'no file'}`)
  return { kind: 'link', path, target: targetOf(path, linkpath ?? '') }
}

function pathOf(raw: string, type: string): string {
  const path = type === 'Directory' && raw.length > 1 && raw.endsWith('/') ? raw.slice(0, -1) : raw
  if (path.startsWith('/')) throw badArchive(`${quoted(raw)} begins at the root`)
  if (MISLEADING.test(path)) throw badArchive(`${quoted(raw)} has characters that mislead`)
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) throw badArchive(`${quoted(raw)} is too long`)
  requirePlain(raw, path.split('/'))
  return path
}

function requirePlain(raw: string, names: readonly string[]): void {
  if (names.length > MAX_DEPTH) throw badArchive(`${quoted(raw)} is too deep`)
  for (const name of names) {
    if (name === '..') throw badArchive(`${quoted(raw)} leads out of its folder`)
    if (name === '' || name === '.') throw badArchive(`${quoted(raw)} is no plain path`)
    if (Buffer.byteLength(name) > MAX_NAME_BYTES) throw badArchive(`${quoted(raw)} is too long`)
  }
}

/**
 * A target stays inside whatever other links it passes: `..` only at its beginning, counted from a
 * folder that is no link itself, and from there on downwards.
 */
function targetOf(path: string, target: string): string {
  const what = `the link ${quoted(path)} to ${quoted(target)}`
  if (target === '' || target.startsWith('/')) throw badArchive(`${what} is not relative`)
  if (MISLEADING.test(target)) throw badArchive(`${what} has characters that mislead`)
  if (Buffer.byteLength(target) > MAX_PATH_BYTES) throw badArchive(`${what} is too long`)
  const names = target.split('/')
  const down = names.findIndex((name) => name !== '..')
  const up = down === -1 ? names.length : down
  if (up > path.split('/').length - 1) throw badArchive(`${what} leads out of its folder`)
  if (names.slice(up).some((name) => name === '..' || name === '.' || name === '')) {
    throw badArchive(`${what} is no plain path`)
  }
  return target
}
