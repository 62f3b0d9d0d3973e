import type { Random } from '../support/random.ts';

/**
 * The lines that a batch asks, and what is to become of each. The prompt of a line names its fate, which is what the
 * scripted model does with it.
 */
export const FATES = {
  /** Answered, at once or after a second or two. */
  answered: [],
  slow: [],
  /** The first tries fail in a way that passes. */
  throttled: ['rate_limited'],
  failing_once: ['model_unavailable'],
  cut_once: ['model_unavailable'],
  hanging_once: ['model_timeout'],
  /** Fails until its attempts are used up. */
  broken: ['model_unavailable'],
  hanging: ['model_timeout'],
  garbage: ['invalid_response'],
  refused: ['model_error'],
  /** Refused in the first batch that asks, answered in a retry. */
  healing: ['model_error'],
  /** Brings its vectors along: no model is asked. */
  ready: [],
} as const satisfies Record<string, readonly string[]>;
export type Fate = keyof typeof FATES;

/** Fates whose lines always come to a result in the output, given time. */
export const SUCCEEDING: readonly Fate[] = [
  'answered',
  'slow',
  'throttled',
  'failing_once',
  'cut_once',
  'hanging_once',
  'ready',
];

export const ENDPOINTS = ['agent', 'chat', 'completions', 'responses', 'vectors', 'embeddings'] as const;
export type Endpoint = (typeof ENDPOINTS)[number];

/** A line that holds something. `line` is physical, from 1. */
export type AskedLine =
  | { line: number; text: string; customId: string; endpoint: Endpoint; fate: Fate; prompt: string }
  /** Refused at validation, with that code. `customId`: null where the line has none that can be used. */
  | { line: number; text: string; customId: string | null; badCode: string };

export type FateWeights = Partial<Record<Fate, number>>;

export type LinesPlan = {
  /** Unique in the run: prompts begin with it. */
  name: string;
  type: 'COMPLETIONS' | 'EMBEDDINGS';
  count: number;
  fates: FateWeights;
  /** Shares of bad and of blank lines. */
  bad: number;
  blank: number;
};

const ODD_IDS = ['ü', '"quoted"', 'back\\slash', 'a b', '二', '😀', '<&>', 'tab\tin', '__proto__'];

export function drawLines(random: Random, plan: LinesPlan): { lines: AskedLine[]; content: string } {
  const lines: AskedLine[] = [];
  const physical: string[] = [];
  for (let n = 0; n < plan.count; n++) {
    while (random.chance(plan.blank)) physical.push(random.pick(['', '  ', '\t']));
    const line = physical.length + 1;
    const asked = random.chance(plan.bad) ? badLine(random, plan, line, lines) : goodLine(random, plan, line);
    physical.push(asked.text);
    lines.push(asked);
  }
  const newline = random.chance(0.1) ? '\r\n' : '\n';
  const content = physical.join(newline) + (random.chance(0.8) ? newline : '');
  return { lines, content: random.chance(0.1) ? `\uFEFF${content}` : content };
}

function goodLine(random: Random, plan: LinesPlan, line: number): AskedLine {
  const endpoint: Endpoint =
    plan.type === 'COMPLETIONS'
      ? random.weighted({ agent: 6, chat: 3, completions: 1, responses: 1 })
      : random.weighted({ vectors: 2, embeddings: 1 });
  const drawn = random.weighted(plan.fates as Record<Fate, number>);
  const fate = endpoint === 'vectors' && random.chance(0.1) ? 'ready' : drawn;
  const prompt = `${plan.name}/${line}`;
  const customId = `${random.chance(0.05) ? `${random.pick(ODD_IDS)} ` : ''}line-${line}`;
  const { url, body } = request(endpoint, `${fate} ${prompt}${padding(random)}`, fate === 'ready');
  const text = JSON.stringify({ custom_id: customId, method: 'POST', url, body });
  return { line, text, customId, endpoint, fate, prompt };
}

/** Most prompts are short; some make lines of a few kilobytes. */
function padding(random: Random): string {
  return random.chance(0.03) ? ` ${'lorem ipsum '.repeat(random.int(10, 400))}` : '';
}

function request(endpoint: Endpoint, input: string, isReady: boolean): { url: string; body: Record<string, unknown> } {
  switch (endpoint) {
    case 'agent':
      return { url: '/agents/writer/invoke', body: { input } };
    case 'chat':
      return { url: '/v1/chat/completions', body: { model: 'default', messages: [{ role: 'user', content: input }] } };
    case 'completions':
      return { url: '/v1/completions', body: { model: 'other', prompt: input } };
    case 'responses':
      return { url: '/v1/responses', body: { model: 'default', input } };
    case 'vectors': {
      const vector = { id: 'v', values: isReady ? [0.25, -1.5] : [], metadata: { text: input } };
      return { url: '/vectors', body: { vectors: [vector] } };
    }
    case 'embeddings':
      return { url: '/v1/embeddings', body: { model: 'embedding', input } };
  }
}

type BadKind = 'no_json' | 'array' | 'duplicate' | 'method' | 'no_input' | 'other_type' | 'unknown_model' | 'stream';

function badLine(random: Random, plan: LinesPlan, line: number, before: AskedLine[]): AskedLine {
  const taken = before.find(({ customId }) => customId !== null)?.customId;
  const kind: BadKind = random.weighted({
    no_json: 3,
    array: 1,
    duplicate: typeof taken === 'string' ? 2 : 0,
    method: 1,
    no_input: 1,
    other_type: 1,
    unknown_model: plan.type === 'COMPLETIONS' ? 1 : 0,
    stream: plan.type === 'COMPLETIONS' ? 1 : 0,
  });
  const customId = `bad-${line}`;
  const agent = { method: 'POST', url: '/agents/writer/invoke', body: { input: 'never asked' } };
  const vectors = { method: 'POST', url: '/vectors', body: request('vectors', 'never asked', false).body };
  const [own, foreign] = plan.type === 'COMPLETIONS' ? [agent, vectors] : [vectors, agent];
  const chat = { method: 'POST', url: '/v1/chat/completions' };
  const messages = [{ role: 'user', content: 'never asked' }];
  const bad = (badCode: string, id: string | null, value: unknown): AskedLine => ({
    line,
    text: typeof value === 'string' ? value : JSON.stringify(value),
    customId: id,
    badCode,
  });
  switch (kind) {
    case 'no_json':
      return bad('invalid_json_line', null, `{"custom_id":"${customId}","meth`);
    case 'array':
      return bad('invalid_line', null, [customId]);
    case 'duplicate':
      return bad('duplicate_custom_id', null, { custom_id: taken, ...own });
    case 'method':
      return bad('invalid_method', customId, { custom_id: customId, ...own, method: 'GET' });
    case 'no_input':
      return bad('missing_required_parameter', customId, { custom_id: customId, ...own, body: {} });
    case 'other_type':
      return bad('url_not_allowed_for_type', customId, { custom_id: customId, ...foreign });
    case 'unknown_model':
      return bad('model_not_found', customId, { custom_id: customId, ...chat, body: { model: 'nobody', messages } });
    case 'stream':
      return bad('unsupported_parameter', customId, {
        custom_id: customId,
        ...chat,
        body: { model: 'default', messages, stream: true },
      });
  }
}
