/** What this device can be told to do, and plug-ins that add to it. */
export { ActuatorError, type ActuatorErrorCode } from './actuator.ts'
export { startActuators, type Actuators, type ActuatorsDeps } from './actuators.ts'
export type { PartModel } from './plugin-model.ts'
export type { CreatePlugin, Plugin, PluginContext, PluginProperty } from './plugin.ts'
