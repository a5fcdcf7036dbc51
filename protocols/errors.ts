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

type NewError<Code extends string, Made extends CodedError<Code>> = new (
  code: Code,
  detail?: string,
  options?: ErrorOptions,
) => Made

/** What the words of a code and a detail make together. */
export type Phrase = (words: string, detail: string) => string

const added: Phrase = (words, detail) => `${words}: ${detail}`
/** A detail that says it better than the table. */
export const instead: Phrase = (_words, detail) => detail

/** The base of an area's error class: what it says stands in a table, by code. */
export function wordedError<Code extends string>(
  words: Readonly<Record<Code, string>>,
  phrase: Phrase = added,
): NewError<Code, CodedError<Code>> {
  return class extends CodedError<Code> {
    constructor(code: Code, detail?: string, options?: ErrorOptions) {
      super(code, detail === undefined ? words[code] : phrase(words[code], detail), options)
    }
  }
}

/** Codes of one protocol, each with its number on the wire and what it says. */
export type StatusTable<Code extends string> = Readonly<
  Record<Code, { readonly status: number; readonly message: string }>
>

export interface StatusError<Code extends string> extends CodedError<Code> {
  /** All of it that crosses the wire. */
  readonly status: number
}

/** The base of a protocol's error class. */
export function statusError<Code extends string>(
  table: StatusTable<Code>,
): NewError<Code, StatusError<Code>> {
  return class extends CodedError<Code> {
    readonly status: number

    constructor(code: Code, detail?: string, options?: ErrorOptions) {
      const { message, status } = table[code]
      super(code, detail === undefined ? message : added(message, detail), options)
      this.status = status
    }
  }
}

/** What finds the code behind a number that a peer sent; undefined for one that is not in `table`. */
export function codesByStatus<Code extends string>(
  table: StatusTable<Code>,
): (status: number) => Code | undefined {
  const codes = Object.keys(table) as Code[]
  return (status) => codes.find((code) => table[code].status === status)
}
