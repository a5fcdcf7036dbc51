/** Which names and links a tree may have: those that every device can lay down as they are. */
import { ReleaseError } from './errors.ts'

export const TREE_LIMITS = {
  entries: 100_000,
  pathBytes: 1_024,
  nameBytes: 255,
  depth: 32,
} as const

/** Control characters; halves of characters; text that turns the reading direction; backslashes. */
const MISLEADING = /[\p{Cc}\p{Cs}\uFFFD\u202A-\u202E\u2066-\u2069\\]/u
const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export function refused(path: string, why: string): ReleaseError {
  const shown = path.replaceAll(/[\p{Cc}\p{Cs}\u202A-\u202E\u2066-\u2069]/gu, '?')
  return new ReleaseError('RELEASE_INPUT', `${JSON.stringify(shown)} ${why}.`)
}

/** The name of an entry of `folder`, as text. @throws ReleaseError RELEASE_INPUT */
export function nameOf(bytes: Buffer, folder: string): string {
  try {
    return strict.decode(bytes)
  } catch {
    throw refused(folder + bytes.toString('latin1'), 'has a name that is not UTF-8')
  }
}

/** @throws ReleaseError RELEASE_INPUT */
export function requirePath(path: string): void {
  if (MISLEADING.test(path)) throw refused(path, 'has characters that mislead')
  if (Buffer.byteLength(path) > TREE_LIMITS.pathBytes) throw refused(path, 'is too long')
  const names = path.split('/')
  if (names.length > TREE_LIMITS.depth) throw refused(path, 'is too deep')
  // No file system here makes a longer one; others might.
  if (names.some((name) => Buffer.byteLength(name) > TREE_LIMITS.nameBytes)) {
    throw refused(path, 'is too long')
  }
}

/**
 * A target stays inside whatever other links it passes: `..` only at its beginning.
 *
 * @throws ReleaseError RELEASE_INPUT
 */
export function requireTarget(path: string, target: string): void {
  const what = `is a link to ${JSON.stringify(target)}, which`
  if (target === '' || target.startsWith('/')) throw refused(path, `${what} is not relative`)
  if (MISLEADING.test(target)) throw refused(path, `${what} has characters that mislead`)
  if (Buffer.byteLength(target) > TREE_LIMITS.pathBytes) throw refused(path, `${what} is too long`)
  const names = target.split('/')
  const down = names.findIndex((name) => name !== '..')
  const up = down === -1 ? names.length : down
  if (up >= path.split('/').length) throw refused(path, `${what} leads out of the folder`)
  if (names.slice(up).some((name) => name === '..' || name === '.' || name === '')) {
    throw refused(path, `${what} is no plain path`)
  }
}

/** Remembers names that some file systems take for one. */
export function createTwins(): { require(path: string): void } {
  const seen = new Map<string, string>()
  return {
    require(path) {
      const folded = path.normalize('NFKC').toLowerCase().normalize('NFKC')
      const other = seen.get(folded)
      if (other !== undefined) {
        throw refused(path, `and ${JSON.stringify(other)} are one name on some file systems`)
      }
      seen.set(folded, path)
    },
  }
}
