/** Why a release was not installed, in words for people. Nothing was changed where one is thrown. */
import { instead, wordedError } from '../../../protocols/errors.ts'

export const INSTALL_ERRORS = {
  /** An archive that holds what it may not. */
  INSTALL_ARCHIVE: 'the archive is not one that Kith unpacks',
  /** Arguments of the release that its installer does not know, or that it needs. */
  INSTALL_ARGUMENTS: 'the installer cannot be used like this',
  /** Too little space, at whatever step. */
  INSTALL_NO_SPACE: 'there is too little space',
  /** A build that was ill here once. */
  INSTALL_ILL: 'this build was ill on this device',
  /** Another release of this name is being installed. */
  INSTALL_BUSY: 'another release is being installed',
  /** Nothing is staged under this name. */
  INSTALL_NOT_STAGED: 'nothing is staged',
  /** The version to go back to is not there. */
  INSTALL_NO_WAY_BACK: 'there is no version to go back to',
  /** A program that installs ended with an error. */
  INSTALL_PROGRAM: 'a program failed',
  /** The journal is damaged: by hand, or by the disk. */
  INSTALL_JOURNAL: 'the journal cannot be read',
} as const

export class InstallError extends wordedError(INSTALL_ERRORS, instead) {}

const FULL: ReadonlySet<string | undefined> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

/** Whether writing failed because nothing more fits. */
export function isFull(error: unknown): boolean {
  if (error instanceof InstallError) return error.code === 'INSTALL_NO_SPACE'
  return FULL.has((error as NodeJS.ErrnoException | undefined)?.code)
}

/** A full disk as an error for people; any other error as it is. */
export function withoutSpace(error: unknown): unknown {
  if (!isFull(error) || error instanceof InstallError) return error
  return new InstallError('INSTALL_NO_SPACE', undefined, { cause: error })
}
