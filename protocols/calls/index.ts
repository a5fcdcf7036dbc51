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
export { serveCalls } from './callee.ts'
export type { CalleeDeps } from './callee.ts'
export { openCaller } from './caller.ts'
export type { Caller, CallerDeps, CallRow, Observed } from './caller.ts'
export { checkInput, compileInput } from './check.ts'
export type { Check } from './check.ts'
export { isName, SCHEMA_BOUNDS, schemaFrom } from './data-schema.ts'
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
export {
  DESCRIPTION,
  descriptionText,
  modelOf,
  onlyAllowed,
  thingDescription,
} from './thing-description.ts'
export type { Allows, Right } from './thing-description.ts'
