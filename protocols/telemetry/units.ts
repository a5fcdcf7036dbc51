/**
 * Unit names of the SenML registry: primary ones (RFC 8428 section 12.1, RFC 8798 section 2), and
 * secondary ones (RFC 8798 section 3), whose use a SenML pack announces in its version (RFC 9100).
 */
const PRIMARY: ReadonlySet<string> = new Set(
  (
    'm kg g s A K cd mol Hz rad sr N Pa J W C V F Ohm S Wb T H Cel lm lx Bq Gy Sv kat ' +
    'm2 m3 l m/s m/s2 m3/s l/s W/m2 cd/m2 bit bit/s lat lon pH dB dBW Bspl count / % ' +
    '%RH %EL EL 1/s 1/min beat/min beats S/m B VA VAs var vars J/m kg/m3 deg'
  ).split(' '),
)

const SECONDARY: ReadonlySet<string> = new Set(
  (
    'ms min h MHz kW kVA kvar Ah Wh kWh varh kvarh kVAh Wh/km KiB GB Mbit/s B/s MB/s mV mA ' +
    'dBm ug/m3 mm/h m/h ppm /100 /1000 hPa mm cm km km/h'
  ).split(' '),
)

/** Where a unit stands in the registry; undefined where it is not in it. */
export function unitKind(unit: string): 'primary' | 'secondary' | undefined {
  if (PRIMARY.has(unit)) return 'primary'
  return SECONDARY.has(unit) ? 'secondary' : undefined
}
