/** Kraken's checksum of a book: CRC32 over its ten best levels, asks first, digits only. */
import { crc32 } from 'node:zlib'
import type { Book, Level } from './book.ts'

export function checksum(book: Book): number {
  const { bids, asks } = book.levels(10)
  const text = (levels: readonly Level[]): string => levels.map(level => level.map(digits).join('')).join('')
  return crc32(text(asks) + text(bids))
}

const digits = (number: string): string => number.replace('.', '').replace(/^0+/, '')
