/** Who is asked for which chunk of a release, and who gets one: without clock, network or disk. */
export { createSwarm, isBusy } from './state.ts'
export type { SwarmState } from './model.ts'
export { step } from './step.ts'
export { TUNING } from './types.ts'
export type { SwarmAction, SwarmConfig, SwarmEvent, Tuning } from './types.ts'
