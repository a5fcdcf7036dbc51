/** What every protocol builds on: bytes, deterministic CBOR, message schemas, bounded channels. */
export {
  compareBytes,
  concatBytes,
  encodeVarint,
  equalBytes,
  equalConstantTime,
  fromHex,
  isLonger,
  lvCat,
  toHex,
  utf8,
} from './bytes.ts'
export { decodeCbor } from './cbor-decode.ts'
export type { CborLimits } from './cbor-decode.ts'
export { encodeCbor } from './cbor-encode.ts'

export { openChannel } from './channel.ts'
export type { Channel, Protocol } from './channel.ts'
export { WIRE_ERRORS, WireError } from './errors.ts'
export type { WireErrorCode } from './errors.ts'
export type { ByteStream } from './frames.ts'
export { partsOf } from './parts.ts'
export {
  bool,
  bytes,
  field,
  finite,
  list,
  message,
  messageOf,
  oneOf,
  optional,
  record,
  text,
  uint,
} from './schema.ts'
export type { Decoded, Infer, Message, MessageLimits, Shape, Type } from './schema.ts'
