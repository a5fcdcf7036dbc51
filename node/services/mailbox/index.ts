/** Mail for devices that sleep. */
export { startMailbox } from './mailbox.ts'
export type { MailboxDeps, MailboxSettings } from './mailbox.ts'
export type {
  HeldView,
  Mailbox,
  MailboxEvents,
  WaitingCall,
  WaitingState,
  WakeResult,
} from './types.ts'
