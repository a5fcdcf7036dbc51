/** Why a release could not be made or put together, in words for people. */
import { instead, wordedError } from '../../protocols/errors.ts'

export const RELEASE_ERRORS = {
  /** A file or folder that cannot become a release. Says which path, and why. */
  RELEASE_INPUT: 'this cannot become a release',
  /** It was written to while it was read. */
  RELEASE_CHANGED: 'it changed while it was read',
  /** More bytes or chunks than an index may hold. */
  RELEASE_TOO_LARGE: 'it is too large for one release',
  /** Chunks that are neither in the store nor in any source. `numbers` says which. */
  RELEASE_MISSING: 'chunks are missing',
  /** A patch that breaks a rule of its form. */
  RELEASE_PATCH: 'the patch is damaged',
  /** No room for what is put together. */
  RELEASE_NO_SPACE: 'the disk is full',
} as const

export type ReleaseErrorCode = keyof typeof RELEASE_ERRORS

export class ReleaseError extends wordedError(RELEASE_ERRORS, instead) {
  /** Of RELEASE_MISSING: numbers of the chunks, each once, rising. */
  readonly numbers: readonly number[]

  constructor(
    code: ReleaseErrorCode,
    detail?: string,
    options?: ErrorOptions & { readonly numbers?: readonly number[] },
  ) {
    super(code, detail, options)
    this.numbers = options?.numbers ?? []
  }
}
