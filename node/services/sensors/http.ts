import type { SettingsOf } from '../../config-sensors.ts'
import type { Clock } from '../../env.ts'
import { askHttp } from '../../machine/http.ts'
import { jsonAt, valueFrom } from '../../machine/values.ts'
import type { Reader } from './file.ts'
import type { SensorInfo } from './source.ts'

/** A value in the JSON that a server answers. */
export function httpSensor(
  settings: SettingsOf<'http'>,
  { clock }: { readonly clock: Clock },
): Partial<SensorInfo> & Reader {
  const { url, pointer, timeout: timeoutMs, token_file: tokenFile, ca_file: caFile } = settings
  return {
    description: `From ${new URL(url).host}`,
    async read(signal) {
      const text = await askHttp({ url, timeoutMs, tokenFile, caFile, clock }, signal)
      return valueFrom(jsonAt(text, pointer), settings)
    },
  }
}
