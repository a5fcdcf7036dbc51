/** What may become a release: one file, or a folder. */
import { stat } from 'node:fs/promises'

import type { Form, InstallerName } from '../../protocols/update/index.ts'
import { ReleaseError } from './errors.ts'
import { openFile, type RawBytes } from './raw.ts'
import { openTree } from './tree.ts'

export interface Input {
  readonly form: Form
  readonly raw: RawBytes
}

/** How a file begins that an installer takes, and what people call it. */
const KINDS: Partial<Record<InstallerName, { readonly start: string; readonly what: string }>> = {
  deb: { start: '!<arch>\ndebian-binary', what: 'Debian package' },
  swupdate: { start: '07070', what: 'SWUpdate image' },
}

/**
 * Open a file, or a folder as its archive.
 *
 * @throws ReleaseError RELEASE_INPUT: says which path, and why
 */
export async function openInput(
  path: string,
  installer: InstallerName,
  signal: AbortSignal,
): Promise<Input> {
  const stats = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    const why = cause.code === 'ENOENT' ? 'There is no' : 'Kith may not read'
    throw new ReleaseError('RELEASE_INPUT', `${why} ${path}.`, { cause })
  })
  const form = stats.isDirectory() ? 'tree' : 'file'
  requireForm(form, installer, path)
  if (form === 'tree') return { form, raw: await openTree(path, signal) }
  const raw = await openFile(path)
  try {
    await requireKind(raw, installer, path)
    return { form, raw }
  } catch (error) {
    await raw[Symbol.asyncDispose]()
    throw error
  }
}

function requireForm(form: Form, installer: InstallerName, path: string): void {
  if (installer === 'exec' || (form === 'tree') === (installer === 'tree')) return
  const what = form === 'tree' ? 'is a folder' : 'is a file'
  const wants = form === 'tree' ? 'takes a file' : 'takes a folder'
  throw new ReleaseError(
    'RELEASE_INPUT',
    `${path} ${what}, and the installer ${installer} ${wants}.`,
  )
}

async function requireKind(raw: RawBytes, installer: InstallerName, path: string): Promise<void> {
  if (raw.size === 0) throw new ReleaseError('RELEASE_INPUT', `${path} is empty.`)
  const kind = KINDS[installer]
  if (kind === undefined) return
  const head = await raw.read(0, kind.start.length)
  if (Buffer.from(head).toString('latin1') !== kind.start) {
    throw new ReleaseError('RELEASE_INPUT', `${path} is no ${kind.what}.`)
  }
}
