import type { PhysicalLine } from './lineReader.ts';

/** The `custom_id` of a line that was found good before; null where it has none that could be used. */
export function customIdOf(content: PhysicalLine['content']): string | null {
  if (content === 'too_long') return null;
  let parsed: unknown;
  try {
    parsed = JSON.parse(content.toString('utf8'));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return null;
  }
  const id = typeof parsed === 'object' && parsed !== null && 'custom_id' in parsed ? parsed.custom_id : null;
  return typeof id === 'string' ? id : null;
}
