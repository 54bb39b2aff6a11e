import type { Transform } from 'node:stream';
import * as zlib from 'node:zlib';

/** Undefined: it cannot be decoded here, as zstd before Node 22.15. */
export function decoderOf(coding: string): Transform | undefined {
  switch (coding.trim().toLowerCase()) {
    case 'gzip':
    case 'x-gzip':
      return zlib.createGunzip();
    case 'deflate':
      return zlib.createInflate();
    case 'br':
      return zlib.createBrotliDecompress();
    case 'zstd':
      return 'createZstdDecompress' in zlib
        ? (zlib.createZstdDecompress as () => Transform)()
        : undefined;
    default:
      return undefined;
  }
}
