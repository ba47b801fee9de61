/** Other encodings than UTF-8, as a stream of UTF-8 bytes. */

/** How the bytes of a file become text. */
export type Encoding = 'utf-8' | 'utf-16le' | 'utf-16be' | 'windows-1252' | 'latin1'

/** What the first bytes of an input indicate; undefined: nothing. */
export function byteOrderMark(bytes: Buffer): Encoding | undefined {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return 'utf-16le'
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return 'utf-16be'
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) return 'utf-8'
  return undefined
}

/** The compression of the input, by its first bytes. */
export function compressionMark(bytes: Buffer): 'gzip' | 'zstd' | undefined {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return 'gzip'
  return bytes.length >= 4 && bytes.readUInt32LE() === 0xfd2fb528 ? 'zstd' : undefined
}

/** Converts bytes of another encoding to UTF-8, piece by piece. */
export class Transcoder {
  private readonly encoding: Encoding
  private readonly windows = new TextDecoder('windows-1252')
  /** Bytes of a character whose rest has not arrived yet. */
  private held: Buffer = Buffer.alloc(0)

  constructor(encoding: Encoding) {
    this.encoding = encoding
  }

  /** UTF-8; an invalid character is converted to bytes that are not valid UTF-8, so that its record fails. */
  push(chunk: Buffer): Buffer {
    switch (this.encoding) {
      case 'utf-8':
        return chunk
      case 'latin1':
        return Buffer.from(chunk.toString('latin1'))
      case 'windows-1252':
        return Buffer.from(this.windows.decode(chunk))
      case 'utf-16le':
      case 'utf-16be':
        return this.utf16(chunk)
    }
  }

  /** The input has ended with an incomplete character. */
  end(): Buffer {
    const { length } = this.held
    this.held = Buffer.alloc(0)
    return Buffer.alloc(length > 0 ? 1 : 0, 0xff)
  }

  private utf16(chunk: Buffer): Buffer {
    const bytes = this.held.length > 0 ? Buffer.concat([this.held, chunk]) : chunk
    const high = this.encoding === 'utf-16le' ? 1 : 0
    let end = bytes.length & ~1
    // The first half of a surrogate pair waits for the second.
    if (end >= 2 && (bytes[end - 2 + high] & 0xfc) === 0xd8) end -= 2
    this.held = Buffer.from(bytes.subarray(end))
    const units = this.encoding === 'utf-16le' ? bytes.subarray(0, end) : Buffer.from(bytes.subarray(0, end)).swap16()
    const text = units.toString('utf16le')
    return text.isWellFormed() ? Buffer.from(text) : withLoneHalves(text)
  }
}

/** An unpaired surrogate as its three bytes, which UTF-8 does not allow: U+FFFD would hide it. */
function withLoneHalves(text: string): Buffer {
  return Buffer.concat(
    text.split(/([\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF])/).map((part, i) => {
      if (i % 2 === 0) return Buffer.from(part)
      const unit = part.charCodeAt(0)
      return Buffer.from([0xe0 | (unit >> 12), 0x80 | ((unit >> 6) & 0x3f), 0x80 | (unit & 0x3f)])
    }),
  )
}
