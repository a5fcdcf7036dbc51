/** Mail for devices that sleep. */
export { startMailbox } from './mailbox.ts'
export type { MailboxDeps } from './mailbox.ts'
export type { Mailbox } from './types.ts'
