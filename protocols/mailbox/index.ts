/** Calls that wait for sleeping devices, and receipts that come back. SPEC.md is the contract. */
export { Note, Reply, SchedulePayload } from './messages.ts'
export type { Held, Mail, News, NoteMessage, PutItem, ReplyMessage, Wake } from './messages.ts'
export { presenceOf } from './presence.ts'
export type { Presence, PresenceState } from './presence.ts'
export { BOUNDS, MAILBOX, MAILBOX_ERRORS, MailboxError } from './protocol.ts'
export type { MailboxErrorCode } from './protocol.ts'
export { openSchedule, sealSchedule } from './schedule.ts'
export type { Schedule, ScheduleContent } from './schedule.ts'
