/**
 * Text from other devices, made harmless for a terminal: control characters, which could move the
 * cursor or forge lines, and the marks that reverse reading order are shown as `\u{…}`.
 */
export function printable(text: string): string {
  return text.replaceAll(
    /[\p{Cc}\u061C\u200E\u200F\u2028\u2029\u202A-\u202E\u2066-\u2069]/gu,
    (mark) => `\\u{${(mark.codePointAt(0) ?? 0).toString(16)}}`,
  )
}
