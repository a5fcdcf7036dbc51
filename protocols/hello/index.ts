/** The first exchange on every connection between members. SPEC.md has messages and limits. */
export { greet } from './greet.ts'
export { Hello, MAX_HEADS, MAX_LOGS } from './messages.ts'
export type { HelloMessage } from './messages.ts'
export { HELLO, HELLO_ERRORS, HelloError } from './protocol.ts'
export type { HelloErrorCode } from './protocol.ts'
