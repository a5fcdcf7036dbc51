/** The only door into node/ for programs that embed a device. */
export { loadConfig } from './config.ts'
export type { Config, ConfigInputs } from './config.ts'
export { runDevice } from './main.ts'
