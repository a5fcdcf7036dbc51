import assert from 'node:assert/strict'
import { it } from 'node:test'

import { valueText } from '../../node/cli/values.ts'

it('shows values as people write them', () => {
  const table: readonly (readonly [number, string, string])[] = [
    [24.015_4, 'Cel', '24.02 °C'],
    [-0.5, 'Cel', '-0.5 °C'],
    [0.123_456, '/', '12.35 %'],
    [1_261_654_016, 'B', '1.175 GiB'],
    [0, 'B', '0 B'],
    [1023, 'B', '1023 B'],
    [1536, 'B/s', '1.5 KiB/s'],
    [90_000, 's', '25 h'],
    [864_000, 's', '10 d'],
    [12, 's', '12 s'],
    [3.06, 'count', '3.06'],
    [55, '%RH', '55 % RH'],
    [1013.25, 'hPa', '1013 hPa'],
    [1e300, 'V', '1.000e+300 V'],
    [1e-9, 'A', '1.000e-9 A'],
  ]
  for (const [value, unit, shown] of table) assert.equal(valueText(value, unit), shown)
})
