export { startCalls } from './calls.ts'
export type {
  Asked,
  CallMailbox,
  CallRecord,
  Calls,
  CallsDeps,
  CallState,
  Description,
  HeldView,
  Observed,
  Rights,
  Verdict,
  WantedCall,
  WhyRow,
} from './calls.ts'
export { THING_ERRORS, ThingError } from './thing.ts'
export type { ChangeKind, Thing, ThingErrorCode } from './thing.ts'
