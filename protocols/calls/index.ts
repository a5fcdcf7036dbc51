/** Signed calls and receipts, and the stream that carries them. SPEC.md is the contract. */
export {
  CallPayload,
  MAX_TIME_MS,
  NONCE_BYTES,
  openCall,
  reopenCall,
  sealCall,
  VERBS,
} from './call.ts'
export type { Call, CallContent, CallsContext, Cause, Verb } from './call.ts'
export { ARGS, formatJson, parseJson, RESULT } from './json.ts'
export type { Json, JsonBounds } from './json.ts'
export { Request, Response } from './messages.ts'
export type { RequestMessage, ResponseMessage } from './messages.ts'
export { NAME } from './model.ts'
export type { ActionModel, DataSchema, EventModel, PropertyModel, ThingModel } from './model.ts'
export { BOUNDS, CALLS, CALLS_ERRORS, callsCode, CallsError } from './protocol.ts'
export type { CallsErrorCode } from './protocol.ts'
export {
  CLOCKS,
  openReceipt,
  ReceiptPayload,
  reopenReceipt,
  sealReceipt,
  STATUSES,
} from './receipt.ts'
export type { ClockState, ExpectedReceipt, Receipt, ReceiptContent, Status } from './receipt.ts'
