/**
 * Base of every error that Kith throws on purpose. Catch by class, decide by `code`: codes are
 * stable and listed in the SPEC.md or README.md beside the code that throws them. Messages are for
 * people and may change.
 */
export abstract class CodedError<Code extends string = string> extends Error {
  readonly code: Code

  constructor(code: Code, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.name = new.target.name
  }
}
