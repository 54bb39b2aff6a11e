import { type Head, readHead } from '../../src/proxy/head.ts';

/** A head as Node would hand it over: `fields` are `Name: value`. */
export function headOf(
  line: string,
  fields: readonly string[] = ['Host: gateway'],
  options: { http10?: boolean; httpVersionMajor?: number } = {},
): Head {
  const [method = '', url = ''] = line.split(' ');
  const rawHeaders = fields.flatMap((field) => {
    const colon = field.indexOf(':');
    return [field.slice(0, colon), field.slice(colon + 1).trim()];
  });
  const { httpVersionMajor = 1 } = options;
  const httpVersionMinor = options.http10 === true ? 0 : 1;
  return readHead({ method, url, httpVersionMajor, httpVersionMinor, rawHeaders });
}
