/** Why the store of chunks could not do it, in words for people. */
import { wordedError } from '../../protocols/errors.ts'

export const BLOB_ERRORS = {
  BLOBS_FULL: 'The store for updates is full, and all that is in it is still needed.',
  BLOBS_DISK_FULL: 'The disk is full.',
  BLOBS_IO: 'A file of the store for updates could not be read or written.',
} as const

export class BlobError extends wordedError(BLOB_ERRORS, (words, detail) => `${words} ${detail}`) {}

export function isDiskFull(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === 'ENOSPC' || code === 'EDQUOT'
}

/** @throws BlobError for an error of the file system, anything else as it is */
export function refuse(error: unknown): never {
  if (isDiskFull(error)) throw new BlobError('BLOBS_DISK_FULL', undefined, { cause: error })
  const { code, syscall } = error as NodeJS.ErrnoException
  if (syscall === undefined) throw error
  throw new BlobError('BLOBS_IO', `(${code} in ${syscall})`, { cause: error })
}
