export { startCalls } from './calls.ts'
export type {
  Asked,
  CallMailbox,
  CallRecord,
  Calls,
  CallsDeps,
  Rights,
  Verdict,
  WantedCall,
  WhyRow,
} from './calls.ts'
export { ThingError } from './thing.ts'
export type { Thing } from './thing.ts'
