/** What this device can be told to do, and plug-ins that add to it. */
export { ActuatorError } from './actuator.ts'
export { startActuators, type Actuators } from './actuators.ts'
export type { PartModel } from './plugin-model.ts'
